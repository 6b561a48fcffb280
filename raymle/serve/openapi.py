"""The OpenAPI document of one model: its real columns, types, known values and an example that works."""

from typing import Any

from raymle.data.transform import Transform
from raymle.records import Column, Schema
from raymle.serve import pictures
from raymle.serve.limits import Limits
from raymle.serve.request import ARROW, JSON
from raymle.serve.sample import Sample, samples

_FAILURES = {
    "400": "The body, or a header, is not what it says it is",
    "406": "The request accepts neither JSON nor Arrow",
    "408": "The body took too long to arrive",
    "413": "The body, or its number of rows, is too large",
    "415": "The body is neither plain JSON nor a plain Arrow stream",
    "422": "A row does not fit the model's columns; each fault is named",
    "503": "Too many requests are waiting, or the model is not ready",
    "504": "There was no answer before the deadline",
}
_GUARDED = {"401": "There is no valid token", "429": "There are too many requests with this token"}
_RETRIED = {"429", "503"}
_TEXT = {"type": "string"}


def openapi(
    schema: Schema,
    transform: Transform | None = None,
    *,
    name: str,
    version: str,
    limits: Limits,
    auth: bool = False,
    metrics: bool = False,
) -> dict[str, Any]:
    """Return the document for a model of that schema; a transform knows what training saw."""
    paths = {
        "/predict": {"post": _predict(schema, auth=auth)},
        "/health/live": {"get": _get("live", "Whether the process answers", {"200": _response("It does", "Health")})},
        "/health/ready": {"get": _get("ready", "Whether the model is loaded and has predicted", {
            "200": _response("It is", "Health"), **_failures({"503": "Not yet"})})},
    }  # fmt: skip
    if metrics:
        text = {"description": "Text in Prometheus' format", "content": {"text/plain": {"schema": _TEXT}}}
        paths["/metrics"] = {"get": _get("metrics", "What the server counted", {"200": text, **_guards(auth=auth)})}
        paths["/metrics"]["get"] |= _security(auth=auth)
    components: dict[str, Any] = {"schemas": _schemas(schema, samples(schema, transform), limits)}
    if auth:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": version, "summary": f"Predicts {schema.target}"},
        "paths": paths,
        "components": components,
    }


def example(schema: Schema, transform: Transform | None = None) -> dict[str, Any]:
    """Return one row that the model accepts."""
    return {name: each.examples[0] for name, each in samples(schema, transform).items()}


def _predict(schema: Schema, *, auth: bool) -> dict[str, Any]:
    return {
        "operationId": "predict",
        "summary": f"Predict {schema.target} for each row",
        "parameters": [
            _header("X-Request-Id", "Comes back with the answer if it is harmless, else a new one does", _TEXT),
            _header("X-Request-Timeout", "Seconds to wait at most", {"type": "number", "exclusiveMinimum": 0}),
            _header("X-Sticky-Key", "The same key gets the same version", {**_TEXT, "maxLength": 256}),
        ],
        "requestBody": {"required": True, "content": _either("Request") | _files(schema)},
        "responses": {
            "200": {
                "description": "One prediction a row, in order",
                "headers": _headers("X-Request-Id", "X-Model-Version"),
                "content": _either("Response"),
            },
            **_failures(_FAILURES),
            **_guards(auth=auth),
        },
    } | _security(auth=auth)


def _security(*, auth: bool) -> dict[str, Any]:
    return {"security": [{"token": []}]} if auth else {}


def _guards(*, auth: bool) -> dict[str, Any]:
    return _failures(_GUARDED) if auth else {}


def _failures(described: dict[str, str]) -> dict[str, Any]:
    failures = {code: _response(text, "Error") for code, text in described.items()}
    for code in _RETRIED & failures.keys():
        failures[code]["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    return failures


def _schemas(schema: Schema, known: dict[str, Sample], limits: Limits) -> dict[str, Any]:
    features = {column.name: _property(column, known[column.name]) for column in schema.features}
    others = {
        column.name: {"description": f"Ignored: it is {column.role}."}
        for column in schema.columns
        if column.role != "feature"
    }
    count = {"minItems": 1, "maxItems": limits.rows}
    lists = {name: {"type": "array", "items": each, **count} for name, each in (features | others).items()}
    row = {name: each.examples[0] for name, each in known.items()}
    return {
        "Row": _closed(features | others, needed=list(features)) | {"examples": [row]},
        "Rows": _closed({"rows": _list("Row") | count}) | {"examples": [{"rows": [row]}]},
        "Columns": _closed({"columns": _closed(lists, needed=list(features))})
        | {
            "description": "All lists are equally long: one value a row.",
            "examples": [{"columns": {name: [value] for name, value in row.items()}}],
        },
        "Request": {"oneOf": [_reference("Rows"), _reference("Columns")]},
        "Prediction": _prediction(schema),
        "Response": _object(predictions=_list("Prediction"), version=_TEXT),
        "Fault": _object(row={"type": ["integer", "null"]}, column={"type": ["string", "null"]}, reason=_TEXT),
        "Error": _object(error=_object(type=_TEXT, message=_TEXT, rows=_list("Fault"))),
        "Health": {"type": "object", "required": ["status"], "properties": {"status": _TEXT}},
    }


def _property(column: Column, known: Sample) -> dict[str, Any]:
    missing = "" if column.steps else "; null when it is missing"
    description = f"{column.type}{missing}{'; ' if known.note else ''}{known.note}"
    return {**known.kind, "description": description, "examples": list(known.examples)}


def _prediction(schema: Schema) -> dict[str, Any]:
    if schema.task == "regression":
        return {"type": "number", "description": schema.target}
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    label = {"type": "string", "enum": list(schema.classes)}
    return _object(**{"class": label, "probabilities": _object(**dict.fromkeys(schema.classes, probability))})


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _closed(properties: dict[str, Any], needed: list[str] | None = None) -> dict[str, Any]:
    """Return an object that may have no other properties."""
    required = list(properties) if needed is None else needed
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _reference(name)}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _either(name: str) -> dict[str, Any]:
    """Return the two types that a body may have; an Arrow stream has the columns of a row, or of a prediction."""
    return {JSON: {"schema": _reference(name)}, ARROW: {}}


def _files(schema: Schema) -> dict[str, Any]:
    """Return the types of a body that is the file of a row's only image."""
    alone = [column.type for column in schema.features] == ["image"]
    return {kind: {} for kind in pictures.CONTENT} if alone else {}


def _response(description: str, name: str) -> dict[str, Any]:
    headers = _headers("X-Request-Id", "X-Model-Version")
    return {"description": description, "headers": headers, "content": {JSON: {"schema": _reference(name)}}}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"schema": _TEXT} for name in names}


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _get(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": name, "summary": summary, "responses": responses}

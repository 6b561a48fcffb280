"""The OpenAPI document of one model: its real columns, types and an example that works."""

from typing import Any

from raymle.records import Column, Schema
from raymle.serve.wire import Limits

_TYPES: dict[str, dict[str, Any]] = {
    "number": {"type": ["number", "null"], "minimum": -3.4e38, "maximum": 3.4e38, "examples": [1.5]},
    "boolean": {"type": ["boolean", "null"], "examples": [True]},
    "timestamp": {"type": ["string", "null"], "format": "date-time", "examples": ["2026-01-31T12:00:00Z"]},
}
_TEXT: dict[str, Any] = {"type": ["string", "number", "boolean", "null"], "examples": ["a"]}
_FAILURES = {
    "400": "The body is not JSON",
    "408": "The body took too long to arrive",
    "413": "The body, or its number of rows, is too large",
    "415": "The body is not plain application/json",
    "422": "A row does not fit the model's columns; each fault is named",
    "503": "Too many requests are waiting; try again after Retry-After seconds",
}


def openapi(schema: Schema, *, name: str, version: str, limits: Limits) -> dict[str, Any]:
    """Return the document for a model of that schema."""
    failures = {code: _response(text, "Error") for code, text in _FAILURES.items()}
    del failures["503"]["content"]  # Ray's proxy answers that one, in plain text
    predict = {
        "operationId": "predict",
        "summary": f"Predict {schema.target} for each row",
        "requestBody": {"required": True, "content": _content("Request")},
        "responses": {"200": _response("One prediction a row, in order", "Response"), **failures},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": version},
        "paths": {
            "/predict": {"post": predict},
            "/health/live": {"get": _health("The process answers")},
            "/health/ready": {"get": _health("The model is loaded and has predicted")},
        },
        "components": {"schemas": _schemas(schema, limits)},
    }


def example(schema: Schema) -> dict[str, Any]:
    """Return one row that the model accepts."""
    return {column.name: _property(column)["examples"][0] for column in schema.features}


def _schemas(schema: Schema, limits: Limits) -> dict[str, Any]:
    features = {column.name: _property(column) for column in schema.features}
    others = {
        column.name: {"description": f"Ignored: it is {column.role}."}
        for column in schema.columns
        if column.role != "feature"
    }
    row = {
        "type": "object",
        "required": list(features),
        "properties": features | others,
        "additionalProperties": False,
        "examples": [example(schema)],
    }
    fault = _object(row={"type": "integer"}, column={"type": ["string", "null"]}, reason={"type": "string"})
    return {
        "Row": row,
        "Request": {
            **_object(rows=_list("Row") | {"minItems": 1, "maxItems": limits.rows}),
            "additionalProperties": False,
        },
        "Prediction": _prediction(schema),
        "Response": _object(predictions=_list("Prediction"), version={"type": "string"}),
        "Fault": fault,
        "Error": _object(error=_object(type={"type": "string"}, message={"type": "string"}, rows=_list("Fault"))),
    }


def _property(column: Column) -> dict[str, Any]:
    return {**_TYPES.get(column.type, _TEXT), "description": f"{column.type}; null when it is missing"}


def _prediction(schema: Schema) -> dict[str, Any]:
    if schema.task == "regression":
        return {"type": "number", "description": schema.target}
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    label = {"type": "string", "enum": list(schema.classes)}
    return _object(**{"class": label, "probabilities": _object(**dict.fromkeys(schema.classes, probability))})


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _reference(name)}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": _reference(name)}}


def _response(description: str, name: str) -> dict[str, Any]:
    return {"description": description, "content": _content(name)}


def _health(summary: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": "Yes"}}}

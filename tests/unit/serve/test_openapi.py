"""The document describes the real columns, and the app does what it says."""

import asyncio
import json
import re
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from served import NUMBERS, SCHEMA, SMALL, TRANSFORM, served

from raymle.serve import wire
from raymle.serve.openapi import example, openapi

FIELDS = {"name": "churn", "version": "7", "limits": SMALL}


def document(**options):
    return openapi(options.pop("schema", SCHEMA), options.pop("transform", TRANSFORM), **FIELDS, **options)


def valid(name: str, value: object, described: dict) -> bool:
    schema = {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
    return Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize("auth", [False, True])
@pytest.mark.parametrize(
    "schema", [SCHEMA, NUMBERS, SCHEMA.model_copy(update={"classes": ("self", "properties", "$ref")})]
)
def test_it_is_openapi(schema, auth):
    validate(document(schema=schema, auth=auth, metrics=True))
    validate(openapi(schema, **FIELDS))


def test_it_has_the_real_columns_with_their_types_and_what_training_saw():
    row = document()["components"]["schemas"]["Row"]
    assert row["required"] == ["amount", "plan", "new", "at"]
    assert row["properties"]["amount"]["type"] == ["number", "null"]
    assert row["properties"]["amount"]["maximum"] == pytest.approx(3.4e38, rel=1e-2)
    assert "the mean was 20, the standard deviation 5" in row["properties"]["amount"]["description"]
    assert row["properties"]["plan"]["examples"] == ["basic", "pro", "<b>{{7*7}}</b>"]
    assert "enum" not in row["properties"]["plan"]
    assert row["properties"]["at"]["format"] == "date-time"
    assert row["properties"]["churned"] == {"description": "Ignored: it is target."}


def test_a_category_of_very_many_values_shows_some():
    many = TRANSFORM.categories[0].model_copy(update={"values": tuple(f"p{each}" for each in range(5000))})
    wide = TRANSFORM.__class__(**{**TRANSFORM.__dict__, "categories": (many,)})
    plan = document(transform=wide)["components"]["schemas"]["Row"]["properties"]["plan"]
    assert len(plan["examples"]) == 20
    assert "training saw 5,000 values" in plan["description"]


@pytest.mark.parametrize("transform", [None, TRANSFORM])
def test_its_examples_are_answered(transform):
    described = document(transform=transform)
    schemas = described["components"]["schemas"]
    for body in [*schemas["Rows"]["examples"], *schemas["Columns"]["examples"], {"rows": [example(SCHEMA, transform)]}]:
        assert valid("Request", body, described)
        assert isinstance(wire.parse(json.dumps(body).encode(), SCHEMA, SMALL), pa.Table)


def test_it_lists_every_refusal_and_the_token_where_there_is_one():
    responses = document()["paths"]["/predict"]["post"]["responses"]
    assert set(responses) == {"200", "400", "406", "408", "413", "415", "422", "503", "504"}
    guarded = document(auth=True)
    assert set(guarded["paths"]["/predict"]["post"]["responses"]) - set(responses) == {"401", "429"}
    assert guarded["paths"]["/predict"]["post"]["security"] == [{"token": []}]
    assert guarded["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    assert set(document(metrics=True)["paths"]) - set(document()["paths"]) == {"/metrics"}


@pytest.mark.parametrize("text", ["503", "429"])
def test_who_is_sent_away_is_told_for_how_long(text):
    response = document(auth=True)["paths"]["/predict"]["post"]["responses"][text]
    assert "Retry-After" in response["headers"]


def test_it_changes_with_the_version_that_is_champion():
    from served import Model

    from raymle.serve.app import Card, application

    versions = iter(["7", "8", "8"])
    app = application(Model(SCHEMA).predict, Card(SCHEMA, "churn", lambda: next(versions)))

    async def ask() -> str:
        sent = []

        async def send(message):
            sent.append(message)

        await app({"type": "http", "path": "/openapi.json", "method": "GET", "headers": []}, None, send)
        return json.loads(sent[1]["body"])["info"]["version"]

    assert asyncio.run(ask()) == "7"


CASES = 500


def test_schemathesis_finds_no_request_that_breaks_what_the_document_says(tmp_path):
    """Generated requests, good and bad, against a real server."""
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        negative_data_rejection,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
        unsupported_method,
    )

    checks = [
        not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
        response_schema_conformance, negative_data_rejection, unsupported_method,
    ]  # fmt: skip
    with served(tmp_path / "log") as (url, process):
        assert urlsplit(url).hostname == "127.0.0.1"
        refusals = {"expected-statuses": ["400", "406", "413", "415", "422"]}
        config = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": refusals}})
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
        seen: list[int] = []
        for operation in schema.get_all_operations():
            for mode in schemathesis.GenerationMode:
                cases = operation.ok().as_strategy(generation_mode=mode)

                @given(case=cases)
                @settings(
                    max_examples=CASES // 2, deadline=None, suppress_health_check=list(HealthCheck), database=None
                )
                def run(case):
                    timeout, wanted = (case.headers or {}).get("X-Request-Timeout", ""), checks
                    if re.fullmatch(r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", timeout):
                        case.headers["X-Request-Timeout"] = "2"  # a millisecond would be too little for any
                        wanted = [each for each in checks if each is not negative_data_rejection]  # text of digits
                    seen.append(case.call_and_validate(checks=wanted).status_code)

                if operation.ok().path == "/predict" or mode == schemathesis.GenerationMode.POSITIVE:
                    run()
        assert process.is_running()
    assert seen.count(200) > 50
    assert not [status for status in seen if status >= 500]

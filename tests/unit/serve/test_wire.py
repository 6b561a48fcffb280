"""Hostile and ordinary requests, without Ray: what a client did wrong is a typed 4xx, never a 5xx."""

import asyncio
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from starlette.types import Message

from raymle.records import Column, Schema
from raymle.serve import wire
from raymle.serve.app import Answer, Call, Card, application
from raymle.serve.openapi import example, openapi
from raymle.serve.wire import Limits, RequestError

SCHEMA = Schema(
    columns=(
        Column(name="id", type="category", role="key"),
        Column(name="amount", type="number", role="feature"),
        Column(name="plan", type="category", role="feature"),
        Column(name="new", type="boolean", role="feature"),
        Column(name="at", type="timestamp", role="feature"),
        Column(name="churned", type="category", role="target"),
    ),
    target="churned",
    task="classification",
    classes=("no", "yes"),
)
GOOD = {"amount": 1.5, "plan": "basic", "new": True, "at": "2026-01-31T12:00:00Z"}
LIMITS = Limits(body=20_000, read=40_000, rows=100, seconds=0.2)
JSON = {"content-type": "application/json"}


def rows(**values: object) -> bytes:
    return json.dumps({"rows": [{**GOOD, **values}]}).encode()


def raw(text: str) -> bytes:
    """Put JSON text where the amount stands."""
    return rows(amount="@").replace(b'"@"', text.encode())


async def ask(body, headers=JSON, *, path="/predict", method="POST", schema=SCHEMA, predict=None):
    """Call the app as a server does; ``body`` is bytes, or chunks, of which None never arrives."""
    chunks = [body] if isinstance(body, bytes) else list(body)
    sent: list[Message] = []

    async def halves(table: pa.Table, call: Call) -> Answer:
        return Answer(np.full((table.num_rows, 2), 0.5), "7")

    async def receive() -> Message:
        if not chunks:
            return {"type": "http.disconnect"}
        chunk = chunks.pop(0)
        if chunk is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(name.encode(), value.encode("latin1")) for name, value in headers.items()],
        "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    app = application(predict or halves, Card(schema, "churn", lambda: "7"), limits=LIMITS)
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body), {k.decode(): v.decode() for k, v in sent[0]["headers"]}


HOSTILE = {
    "empty body": (b"", JSON, 400),
    "not JSON": (b"rows=1", JSON, 400),
    "half a document": (rows()[:-3], JSON, 400),
    "bytes that are not UTF-8": (b'{"rows": "\xff\xfe"}', JSON, 400),
    "UTF-16": (rows().decode().encode("utf-16"), JSON, 400),
    "a pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.", JSON, 400),
    "a gzip bomb's header": (b"\x1f\x8b\x08\x00" + b"\x00" * 100, JSON, 400),
    "deep nesting": (b"[" * 19_000, JSON, 400),
    "deep objects": (b'{"a":' * 3_000, JSON, 400),
    "deep nesting in a value": (raw("[" * 5_000 + "]" * 5_000), JSON, 400),
    "NaN": (raw("NaN"), JSON, 400),
    "Infinity": (raw("Infinity"), JSON, 400),
    "minus Infinity": (raw("-Infinity"), JSON, 400),
    "a number of 5,000 digits": (raw("1" * 5_000), JSON, 400),
    "the same key twice": (rows().replace(b'"amount"', b'"plan": "a", "amount"'), JSON, 400),
    "rows twice": (b'{"rows": [], "rows": []}', JSON, 400),
    "1e999": (raw("1e999"), JSON, 422),
    "a number of 400 digits": (raw("1" * 400), JSON, 422),
    "beyond float32": (raw("1e300"), JSON, 422),
    "null": (b"null", JSON, 422),
    "a bare number": (b"1", JSON, 422),
    "a list": (b"[]", JSON, 422),
    "no rows key": (b"{}", JSON, 422),
    "one key too many": (b'{"rows": [], "model": "../../etc/passwd"}', JSON, 422),
    "rows is no list": (b'{"rows": {"amount": 1}}', JSON, 422),
    "no rows": (b'{"rows": []}', JSON, 422),
    "a row that is no object": (b'{"rows": [[1, 2]]}', JSON, 422),
    "an empty row": (b'{"rows": [{}]}', JSON, 422),
    "null row": (b'{"rows": [null]}', JSON, 422),
    "a column that is not there": (rows(amuont=1), JSON, 422),
    "a dunder column": (rows(__class__="x"), JSON, 422),
    "a column named by half a surrogate pair": (b'{"rows": [{"\\ud800": 1}]}', JSON, 422),
    "half a surrogate pair": (rows(plan="\ud800"), JSON, 422),
    "text for a number": (rows(amount="1.5"), JSON, 422),
    "boolean for a number": (rows(amount=True), JSON, 422),
    "list for a number": (rows(amount=[1.5]), JSON, 422),
    "object for a category": (rows(plan={"$ne": 1}), JSON, 422),
    "infinite category": (raw("1").replace(b'"basic"', b"1e999"), JSON, 422),
    "number for a boolean": (rows(new=1), JSON, 422),
    "number for a time": (rows(at=1_700_000_000), JSON, 422),
    "no such day": (rows(at="2026-02-30"), JSON, 422),
    "a time before the first year": (rows(at="0001-01-01T00:00:00+23:59"), JSON, 422),
    "an address for a time": (rows(at="http://169.254.169.254/"), JSON, 422),
    "too many rows": (json.dumps({"rows": [{}] * 101}).encode(), JSON, 413),
    "too many bytes": (rows(plan="x" * 20_000), JSON, 413),
    "too many bytes in chunks": ([b" " * 8_000] * 4, JSON, 413),
    "bytes without an end": ([b" " * 8_000] * 100, JSON, 413),
    "too many bytes by its header": (rows(), {**JSON, "content-length": "99999999999"}, 413),
    "a length of 5,000 digits": (rows(), {**JSON, "content-length": "9" * 5_000}, 413),
    "a body that never ends": ([b'{"rows"', None], JSON, 408),
    "no content type": (rows(), {}, 415),
    "a form": (rows(), {"content-type": "application/x-www-form-urlencoded"}, 415),
    "a pickle by its type": (rows(), {"content-type": "application/python-pickle"}, 415),
    "another charset": (rows(), {"content-type": "application/json; charset=utf-7"}, 415),
    "compressed": (rows(), {**JSON, "content-encoding": "gzip"}, 415),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_refused_with_a_typed_4xx(name):
    body, headers, expected = HOSTILE[name]
    status, answer, _ = asyncio.run(ask(body, headers))
    assert status == expected, answer
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"type", "message", "rows"}
    assert len(json.dumps(answer)) < 2_000


@given(st.one_of(st.binary(max_size=200), st.builds(lambda v: json.dumps({"rows": v}).encode(), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(GOOD)) | st.text(), inner),
    max_leaves=10,
))))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_no_body_gets_past_parse_but_a_table(body):
    try:
        table = wire.parse(body, SCHEMA, LIMITS)
    except RequestError as error:
        assert 400 <= error.status < 500  # noqa: PT017  a table is the other good outcome
    else:
        assert table.column_names == list(GOOD)


@given(st.fixed_dictionaries({
    "amount": st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60),
    "plan": st.none() | st.text(),
    "new": st.none() | st.booleans(),
    "at": st.none() | st.datetimes().map(lambda moment: moment.isoformat()),
}))  # fmt: skip
def test_every_good_row_comes_back_as_it_was_sent(row):
    table = wire.parse(json.dumps({"rows": [GOOD, row]}).encode(), SCHEMA, LIMITS)
    read = table.to_pylist()[1]
    assert read["plan"] == row["plan"]
    assert read["new"] == row["new"]
    assert read["amount"] == row["amount"] or math.isclose(read["amount"], row["amount"])
    assert (read["at"] is None) == (row["at"] is None)


def test_a_good_row_gets_a_class_with_its_probabilities():
    status, answer, headers = asyncio.run(ask(rows(id="c-1", churned="no"), {**JSON, "x-request-id": "r-1"}))
    assert status == 200
    assert answer == {
        "predictions": [{"class": "no", "probabilities": {"no": 0.5, "yes": 0.5}}],
        "version": "7",
    }
    assert headers["x-model-version"] == "7"
    assert headers["x-request-id"] == "r-1"


def test_regression_answers_numbers():
    body = wire.answer(np.array([1.5, -2.0]), SCHEMA.model_copy(update={"task": "regression"}), "7")
    assert json.loads(body) == {"predictions": [1.5, -2.0], "version": "7"}


def test_a_row_without_a_finite_answer_is_the_clients_fault():
    async def nowhere(table: pa.Table, call: Call) -> Answer:
        return Answer(np.full((table.num_rows, 2), np.nan), "7")

    status, answer, _ = asyncio.run(ask(rows(), predict=nowhere))
    assert status == 422
    assert answer["error"]["type"] == "no_answer"


def test_every_fault_is_named_by_row_and_column():
    body = json.dumps({"rows": [GOOD, {**GOOD, "amount": "x", "new": 3}, {"amount": 1}]}).encode()
    _, answer, _ = asyncio.run(ask(body))
    faults = {(fault["row"], fault["column"]) for fault in answer["error"]["rows"]}
    assert faults == {(1, "amount"), (1, "new"), (2, "plan"), (2, "new"), (2, "at")}


def test_a_misspelt_column_gets_a_suggestion():
    _, answer, _ = asyncio.run(ask(rows(amuont=1)))
    assert "did you mean 'amount'?" in answer["error"]["message"]


def test_a_whole_number_reads_as_the_text_that_training_saw():
    sent = [{**GOOD, "plan": value} for value in (7, 7.0, True, 7.5, None)]
    table = wire.parse(json.dumps({"rows": sent}).encode(), SCHEMA, LIMITS)
    assert table["plan"].to_pylist() == ["7", "7", "true", "7.5", None]


def test_a_header_that_could_forge_a_log_line_is_not_echoed():
    _, _, headers = asyncio.run(ask(rows(), {**JSON, "x-request-id": "a\tb"}))
    assert headers["x-request-id"] != "a\tb"


@pytest.mark.parametrize(("path", "method", "expected"), [("/../etc/passwd", "GET", 404), ("/predict", "GET", 405)])
def test_other_paths_and_methods_are_typed_too(path, method, expected):
    status, answer, _ = asyncio.run(ask(b"", path=path, method=method))
    assert status == expected
    assert answer["error"]["type"]


def test_openapi_describes_the_real_columns_and_its_example_works():
    status, document, _ = asyncio.run(ask(b"", path="/openapi.json", method="GET"))
    schemas = document["components"]["schemas"]
    assert status == 200
    assert schemas["Row"]["required"] == list(GOOD)
    Draft202012Validator({**schemas["Row"], "components": document["components"]}).validate(example(SCHEMA))
    body = json.dumps({"rows": [example(SCHEMA)]}).encode()
    answered = asyncio.run(ask(body))[1]
    Draft202012Validator({**schemas["Response"], "components": document["components"]}).validate(answered)


def test_openapi_is_valid_for_a_class_named_like_an_argument():
    validator = pytest.importorskip("openapi_spec_validator")
    odd = SCHEMA.model_copy(update={"classes": ("self", "properties")})
    validator.validate(openapi(odd, name="churn", version="7", limits=LIMITS))

"""Windows over the wire: lists of the exact length in JSON and in Arrow, and a document that says so."""

import json

import numpy as np
import pyarrow as pa
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from served import SMALL, ipc

from raymle.data.sequences import Sequence
from raymle.data.transform import Number, Transform
from raymle.records import Column, Schema, Series
from raymle.serve import arrow, layout, wire
from raymle.serve.limits import RequestError
from raymle.serve.openapi import openapi

SCHEMA = Schema(
    columns=(
        Column(name="at", type="timestamp", role="feature", also=("key", "time")),
        Column(name="site", type="category", role="key", also=("group",)),
        Column(name="temp", type="sequence", role="feature", steps=3),
        Column(name="curve", type="sequence", role="feature"),
        Column(name="temp+1", type="number", role="target"),
    ),
    target="temp+1", task="regression", series=Series(target="temp", time="at", window=3, horizon=1),
)  # fmt: skip
TRANSFORM = Transform(
    numbers=(Number(column="at", part="hour", mean=12, std=7, fill=12),), categories=(), target_column="temp+1",
    classes=(), sequences=(
        Sequence(column="temp", columns=("temp",), steps=3, means=(10,), stds=(2,)),
        Sequence(column="curve", columns=("curve",), steps=2, means=(0,), stds=(1,)),
    ),
)  # fmt: skip
GOOD = {"at": "2026-01-31T12:00:00Z", "temp": [1, 2.5, None], "curve": [1, 2, 3, 4]}
LAYOUT = layout.of(SCHEMA)


def parse(*rows):
    return wire.parse(json.dumps({"rows": list(rows)}).encode(), SCHEMA, SMALL)


@pytest.mark.parametrize("count", [1, 50])
def test_lists_of_numbers_are_read_and_null_in_them_is_missing(count):
    table = parse(*[GOOD] * count)
    assert table["temp"][0].as_py() == [1, 2.5, None]
    encoded = TRANSFORM.apply(table)
    assert encoded.numbers[0, 1:].tolist() == [-4.5, -3.75, 0, 3, 4]
    columns = {name: [value] * count for name, value in GOOD.items()}
    assert wire.parse(json.dumps({"columns": columns}).encode(), SCHEMA, SMALL).equals(table)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1, 2], "the list has 2 values, and a window has 3"),
        ([1, 2, 3, 4], "the list has 4 values, and a window has 3"),
        (None, "null is not a list of numbers"),
        (1.5, "1.5 is not a list of numbers"),
        ("1, 2, 3", '"1, 2, 3" is not a list of numbers'),
        ([1, 2, "3"], '"3" is not a number'),
        ([1, 2, [3]], "a list is not a number"),
        ([1, 2, 1e39], "the number is beyond 3.4e38"),
        ([1, 2, True], "true is not a number"),
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [1, 50])
def test_a_list_that_is_no_window_is_named(value, reason, count):
    with pytest.raises(RequestError) as caught:
        parse(*[GOOD] * (count - 1), GOOD | {"temp": value})
    assert caught.value.status == 422
    assert caught.value.rows == [{"row": count - 1, "column": "temp", "reason": reason}]


def test_arrow_lists_of_every_kind_are_read():
    for kind in (pa.list_(pa.float32()), pa.large_list(pa.int64()), pa.list_(pa.float64(), 3)):
        sent = pa.table({"at": pa.array(["2026-01-31"]), "temp": pa.array([[1, 2, 3]], kind), "curve": [[1.0]]})
        found = arrow.read(ipc(sent), LAYOUT, SMALL)
        assert found["temp"].to_pylist() == [[1, 2, 3]]
        assert found.schema.field("temp").type == pa.list_(pa.float64())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pa.array([[1.0, 2], [1, 2, 3]]), "the list has 2 values, not 3, as a window has"),
        (pa.array([None, [1.0, 2, 3]]), "the list has 0 values, not 3, as a window has"),
        (pa.array([[1, 2, 1e39], [1.0, 2, 3]]), "a number is beyond 3.4e38"),
        (pa.array([[1, 2, np.inf], [1.0, 2, 3]]), "a number is beyond 3.4e38"),
        (pa.array([["a"], ["b"]]), "list<item: string> holds no single values"),
        (pa.array([{"a": 1}, {"a": 2}]), "struct<a: int64> holds no single values"),
        (pa.array(["warm", "cold"]), "'warm' is not a sequence"),
    ],
    ids=str,
)
def test_an_arrow_list_that_is_no_window_is_named(values, reason):
    sent = pa.table({"at": pa.array(["2026-01-31"] * 2), "temp": values, "curve": [[1.0]] * 2})
    with pytest.raises(RequestError) as caught:
        arrow.read(ipc(sent), LAYOUT, SMALL)
    assert (caught.value.rows[0]["column"], caught.value.rows[0]["reason"]) == ("temp", reason)


@pytest.mark.parametrize("transform", [TRANSFORM, None], ids=["trained", "bare"])
def test_the_document_has_arrays_of_the_exact_length_and_an_example_that_works(transform):
    document = openapi(SCHEMA, transform, name="w", version="1", limits=SMALL)
    validate(document)
    row = document["components"]["schemas"]["Row"]
    assert (row["properties"]["temp"]["minItems"], row["properties"]["temp"]["maxItems"]) == (3, 3)
    assert row["required"] == ["at", "temp", "curve"]
    checked = Draft202012Validator(row)
    assert checked.is_valid(row["examples"][0])
    assert not checked.is_valid(row["examples"][0] | {"temp": [1, 2]})
    assert parse(row["examples"][0]).num_rows == 1


def test_a_window_of_what_is_forecast_must_be_whole():
    whole = [column.model_copy(update={"whole": column.name == "temp"}) for column in SCHEMA.columns]
    schema = SCHEMA.model_copy(update={"columns": tuple(whole)})
    with pytest.raises(RequestError) as caught:
        wire.parse(json.dumps({"rows": [GOOD]}).encode(), schema, SMALL)
    reason = "value 3 is null, and a window needs every value of this column"
    assert (caught.value.rows[0]["column"], caught.value.rows[0]["reason"]) == ("temp", reason)
    sent = pa.table({"at": pa.array(["2026-01-31"]), "temp": [[1.0, 2, None]], "curve": [[1.0]]})
    with pytest.raises(RequestError, match="needs every value"):
        arrow.read(ipc(sent), layout.of(schema), SMALL)
    row = openapi(schema, TRANSFORM, name="w", version="1", limits=SMALL)["components"]["schemas"]["Row"]
    assert not Draft202012Validator(row).is_valid(row["examples"][0] | {"temp": [1, 2, None]})

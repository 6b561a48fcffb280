from itertools import chain
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymle.data.schema import Contract, conform
from raymle.errors import DataError
from raymle.records import Column, ColumnType, Schema


def schema_of(kind: ColumnType = "number", **more: Any) -> Schema:
    columns = (
        Column(name="id", type="category", role="key"),
        Column(name="x", type=kind, role="feature"),
        Column(name="d", type="number", role="drop"),
        Column(name="y", type="category", role="target"),
    )
    return Schema(columns=columns, target="y", task="classification", **more)


def as_type(values: Any, kind: ColumnType) -> list[Any]:
    table = pa.table({"x": values, "y": ["a"] * len(values), "id": ["k"] * len(values)})
    return conform(table, schema_of(kind))["x"].to_pylist()


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("number", pa.array([1, None], pa.int64()), [1.0, None]),
        ("number", pa.array([1.5, float("nan")]), [1.5, None]),
        ("number", pa.array([True, False]), [1.0, 0.0]),
        ("number", pa.array([" 1e3 ", "-2.5"]), [1000.0, -2.5]),
        ("number", pa.array(["1", "2"]).dictionary_encode(), [1.0, 2.0]),
        ("number", pa.array([2**63], pa.uint64()), [float(2**63)]),
        ("number", pa.array([61], pa.time32("s")), [61.0]),
        ("boolean", pa.array([1, 0, None]), [True, False, None]),
        ("boolean", pa.array(["True", "false"]), [True, False]),
        ("category", pa.array([7.0, 7.5, float("nan"), None]), ["7", "7.5", None, None]),
        ("category", pa.array([-0.0, 1e15]), ["0", "1000000000000000"]),
        ("category", pa.array([True, None]), ["true", None]),
        ("category", pa.array([2**60 + 1]), [str(2**60 + 1)]),
        ("timestamp", ["2026-01-31", "2026-01-31T12:00:00+02:00"], ["2026-01-31T00", "2026-01-31T10"]),
        ("timestamp", pa.array([0], pa.date32()), ["1970-01-01T00"]),
        ("timestamp", pa.array([3600], pa.timestamp("s", "Europe/Berlin")), ["1970-01-01T01"]),
        ("category", pa.nulls(2), [None, None]),
        ("number", pa.nulls(2), [None, None]),
    ],
)
def test_values_take_their_canonical_form(kind: ColumnType, values: Any, expected: list[Any]) -> None:
    if kind == "timestamp":
        expected = [pd.Timestamp(each, tz="UTC") for each in expected]
    assert as_type(values, kind) == expected


@given(st.lists(st.one_of(st.none(), st.integers(-(2**53) + 1, 2**53 - 1))))
def test_a_whole_number_reads_the_same_stored_as_integer_float_or_text(values: list[int | None]) -> None:
    whole = as_type(pa.array(values, pa.int64()), "category")
    assert whole == as_type(pa.array(values, pa.float64()), "category")
    assert whole == as_type(pa.array([None if v is None else str(v) for v in values], pa.string()), "category")


@given(st.lists(st.floats(allow_nan=False)), st.integers(1, 4))
def test_conforming_does_not_depend_on_where_batches_end(values: list[float], size: int) -> None:
    for kind in ("number", "category"):
        parts = [as_type(pa.array(values[at : at + size]), kind) for at in range(0, len(values), size)]  # type: ignore[arg-type]
        assert list(chain(*parts)) == as_type(pa.array(values, pa.float64()), kind)  # type: ignore[arg-type]


def test_conforming_twice_changes_nothing() -> None:
    batch = pa.record_batch({"y": ["a"], "d": ["?"], "x": ["1"], "id": [7], "extra": [0]})
    once = conform(batch, schema_of())
    assert once.schema.names == ["id", "x", "y"]
    assert conform(once, schema_of()).equals(once)


def test_text_that_is_a_dictionary_stays_one() -> None:
    batch = pa.record_batch({"y": pa.array(["a", "b"]).dictionary_encode(), "x": [1, 2], "id": [1, 2]})
    assert pa.types.is_dictionary(conform(batch, schema_of()).column("y").type)


def test_predicting_needs_features_only_and_brings_keys_along() -> None:
    batch = pa.record_batch({"x": [1]})
    assert conform(batch, schema_of(), target=False).schema.names == ["x"]
    assert conform(batch.append_column("id", pa.array(["k"])), schema_of(), target=False).schema.names == ["id", "x"]
    with pytest.raises(DataError, match="column 'id' is not in the data"):
        conform(batch, schema_of())


def test_a_table_of_many_chunks_or_none_conforms() -> None:
    part = pa.table({"x": [1], "id": ["k"], "y": pa.array(["a"]).dictionary_encode()})
    empty = pa.table({"x": [1], "id": ["k"], "y": pa.array([None], pa.string()).dictionary_encode()})
    assert conform(pa.concat_tables([part, empty]), schema_of()).num_rows == 2
    assert conform(part.schema.empty_table(), schema_of()).num_rows == 0


def counted(values: list[str | None], parts: int = 1) -> Contract:
    contracts = []
    for part in range(parts):
        labels = values[part::parts]
        batch = pa.record_batch(
            {"id": ["k"] * len(labels), "x": [1.0] * len(labels), "y": pa.array(labels, pa.string())}
        )
        contracts.append(Contract(schema_of()))
        contracts[-1].add(batch)
    for other in contracts[1:]:
        contracts[0].merge(other)
    return contracts[0]


@given(st.lists(st.sampled_from("abc"), min_size=3), st.integers(1, 3))
def test_counts_over_parts_merge_to_those_of_the_whole(labels: list[str | None], parts: int) -> None:
    whole, merged = counted(labels), counted(labels, parts)
    assert (whole.rows, whole.nulls, whole.targets) == (merged.rows, merged.nulls, merged.targets)


def test_classes_are_in_order_of_value_and_numbers_come_before_words() -> None:
    labels: list[str | None] = ["10", "9", "b", "a", "nan", "-1"]
    assert counted(labels).finish().classes == ("-1", "9", "10", "a", "b", "nan")

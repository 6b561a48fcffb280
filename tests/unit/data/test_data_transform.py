"""What train rows teach: moments, codes and fills, the same however the rows came."""

import json
import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymle.data.schema import conform
from raymle.data.statistics import Moments, Partial
from raymle.data.transform import Transform, learn
from raymle.errors import DataError
from raymle.records import Column, Schema

SETTINGS = settings(max_examples=25, deadline=None)
SCHEMA = Schema(
    columns=(
        Column(name="size", type="number", role="feature"),
        Column(name="color", type="category", role="feature"),
        Column(name="flag", type="boolean", role="feature"),
        Column(name="when", type="timestamp", role="feature"),
        Column(name="y", type="category", role="target"),
    ),
    target="y",
    task="classification",
    classes=("no", "yes"),
)


def table(rows: int, seed: int = 0) -> pa.RecordBatch:
    draw = np.random.default_rng(seed)
    words = draw.choice(["red", "green", "blue"], rows).tolist()
    plain = pa.RecordBatch.from_pydict(
        {
            "size": pa.array(draw.normal(3, 2, rows), mask=draw.random(rows) < 0.2),
            "color": pa.array(words, pa.string(), mask=draw.random(rows) < 0.1),
            "flag": pa.array((draw.random(rows) < 0.5).tolist(), pa.bool_()),
            "when": pa.array(draw.integers(0, 2**50, rows), pa.timestamp("us")),
            "y": pa.array(draw.choice(["no", "yes"], rows).tolist(), pa.string()),
        }
    )
    return conform(plain, SCHEMA)


def learned(*batches: pa.RecordBatch, schema: Schema = SCHEMA, fill: float = 3.0) -> Transform:
    whole = Partial(schema)
    for batch in batches:
        whole.merge(Partial(schema).add(batch))
    return learn(whole, {("size", ""): fill})


def one(**values: Any) -> pa.RecordBatch:
    row = {"size": 3.0, "color": "red", "flag": True, "when": 0, "y": "no"} | values
    types = {"size": pa.float64(), "color": pa.string(), "flag": pa.bool_(), "when": pa.timestamp("us")}
    return conform(
        pa.RecordBatch.from_pydict({name: pa.array([value], types.get(name)) for name, value in row.items()}), SCHEMA
    )


@SETTINGS
@given(
    parts=st.lists(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), max_size=20), min_size=1, max_size=6).filter(
        lambda parts: any(value == value for part in parts for value in part)
    )
)
def test_merged_moments_are_those_of_numpy(parts: list[list[float]]) -> None:
    whole = Moments()
    for part in parts:
        values = np.array(part, np.float64)
        moments = Moments()
        moments.add(values, int(np.isnan(values).sum()))
        whole.merge(moments)
    joined = np.concatenate([np.array(part, np.float64) for part in parts])
    known = joined[~np.isnan(joined)]
    assert (whole.count, whole.nulls) == (len(known), len(joined) - len(known))
    assert whole.mean == pytest.approx(known.mean(), rel=1e-9, abs=1e-6)
    assert whole.squares == pytest.approx(known.var() * len(known), rel=1e-9, abs=1e-3)


def test_moments_far_from_zero_keep_their_deviation() -> None:
    values = 1e9 + np.random.default_rng(0).normal(size=10_000)
    whole = Moments()
    for part in np.array_split(values, 7):
        whole.add(part, 0)
    assert whole.std == pytest.approx(values.std(), rel=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e100, 1e9])
def test_a_constant_is_scaled_by_one(constant: float) -> None:
    moments = Moments()
    moments.add(np.full(1000, constant), 0)
    moments.add(np.full(7, constant), 0)
    assert moments.std == 1.0


@SETTINGS
@given(rows=st.integers(1, 60), size=st.integers(1, 20), seed=st.integers(0, 2**31))
def test_the_same_is_learned_whatever_the_batch_size(rows: int, size: int, seed: int) -> None:
    whole = table(rows, seed)
    mine = learned(*(whole.slice(start, size) for start in range(0, rows, size)))
    theirs = learned(whole)
    assert mine.categories == theirs.categories
    for a, b in zip(mine.numbers, theirs.numbers, strict=True):
        assert (a.column, a.part, a.flagged) == (b.column, b.part, b.flagged)
        assert [a.mean, a.std, a.fill] == pytest.approx([b.mean, b.std, b.fill], rel=1e-9, abs=1e-9)


@SETTINGS
@given(rows=st.integers(1, 60), size=st.integers(1, 20), seed=st.integers(0, 2**31))
def test_rows_are_encoded_alike_alone_and_together(rows: int, size: int, seed: int) -> None:
    whole, transform = table(rows, seed), learned(table(50))
    found = transform.apply(whole)
    parts = pa.Table.from_batches([whole.slice(start, size) for start in range(0, rows, size)])
    again = transform.apply(parts)
    np.testing.assert_array_equal(again.numbers, found.numbers)
    np.testing.assert_array_equal(again.codes, found.codes)
    assert transform.target(parts).tolist() == transform.target(whole).tolist()


def test_train_rows_are_standardised_and_every_value_has_its_code() -> None:
    rows = table(500)
    transform = learned(rows)
    found = transform.apply(rows)
    numbers, codes = found.numbers, found.codes
    assert numbers.shape == (500, transform.inputs.numbers)
    assert (numbers.dtype, codes.dtype) == (np.float32, np.int32)
    plain = numbers[:, transform.names.index("flag")]
    assert (plain.mean(), plain.std()) == pytest.approx((0, 1), abs=1e-5)
    size = rows.column("size").to_numpy(zero_copy_only=False)
    expected = (np.where(np.isnan(size), 3.0, size) - np.nanmean(size)) / np.nanstd(size)
    np.testing.assert_allclose(numbers[:, 0], expected, rtol=1e-5, atol=1e-6)
    assert codes.min() >= 1
    assert codes.max() < transform.inputs.categories[0]
    words = dict(zip(rows.column("color").to_pylist(), codes[:, 0].tolist(), strict=True))
    assert len(set(words.values())) == 4


def test_names_and_widths_agree() -> None:
    transform = learned(table(100))
    assert transform.names == (
        "size", "flag", "when.day", "when.hour", "when.weekday", "when.month", "size is missing", "color",
    )  # fmt: skip
    assert len(transform.names) == transform.inputs.numbers + len(transform.inputs.categories)


def test_a_null_is_the_median_and_flagged() -> None:
    transform = learned(table(200), fill=2.5)
    empty, full = transform.apply(one(size=None)).numbers, transform.apply(one(size=2.5)).numbers
    flag = transform.names.index("size is missing")
    assert (empty[0, flag], full[0, flag]) == (1, 0)
    assert empty[0, 0] == full[0, 0]


def test_a_null_that_train_never_had_is_filled_without_a_flag() -> None:
    transform = learned(one(size=1.0), one(size=5.0))
    assert "size is missing" not in transform.names
    assert transform.apply(one(size=None)).numbers[0, 0] == transform.apply(one(size=3.0)).numbers[0, 0]
    assert transform.apply(one(color=None)).codes.tolist() == [[0]]
    assert np.isfinite(transform.apply(one(flag=None, when=None)).numbers).all()


def test_an_unseen_category_is_code_zero() -> None:
    assert learned(table(200)).apply(one(color="violet")).codes.tolist() == [[0]]


def test_a_far_outlier_stays_finite() -> None:
    assert np.isfinite(learned(table(200)).apply(one(size=1e308)).numbers).all()


def test_an_empty_batch_has_the_same_widths() -> None:
    transform, empty = learned(table(100)), table(100).slice(0, 0)
    for each in (empty, pa.Table.from_batches([empty]), pa.Table.from_batches([], empty.schema)):
        found = transform.apply(each)
        assert found.numbers.shape == (0, transform.inputs.numbers)
        assert found.codes.shape == (0, 1)
        assert transform.target(each).shape == (0,)


def test_a_sliced_and_a_dictionary_batch_are_encoded_alike() -> None:
    transform, rows = learned(table(100)), table(60, 1)
    place = rows.schema.get_field_index("color")
    coded = rows.set_column(place, "color", rows.column("color").dictionary_encode())
    for each in (rows, coded):
        mine, theirs = transform.apply(each.slice(17, 20)), transform.apply(rows).rows(slice(17, 37))
        np.testing.assert_array_equal(mine.numbers, theirs.numbers)
        np.testing.assert_array_equal(mine.codes, theirs.codes)


def test_a_target_that_training_never_saw_is_named() -> None:
    with pytest.raises(DataError, match="'maybe', which training never saw"):
        learned(table(100)).target(one(y="maybe"))


def test_a_regression_target_comes_in_raw_units_with_its_mean_and_deviation() -> None:
    columns = (*SCHEMA.columns[:1], Column(name="y", type="number", role="target"))
    schema = Schema(columns=columns, target="y", task="regression")
    rows = pa.RecordBatch.from_pydict({"size": pa.array([1.0, 2.0, 3.0]), "y": pa.array([10.0, 20.0, 60.0])})
    transform = learned(rows, schema=schema)
    assert transform.target(rows).tolist() == [10, 20, 60]
    assert (transform.target_mean, transform.target_std) == pytest.approx((30, np.std([10, 20, 60])))
    assert transform.names == ("size",)


def test_the_state_is_json_and_comes_back_whole() -> None:
    transform = learned(table(100))
    again = Transform.from_state(json.loads(json.dumps(transform.state())))
    assert again == transform
    mine, theirs = again.apply(table(30, 2)), transform.apply(table(30, 2))
    np.testing.assert_array_equal(mine.numbers, theirs.numbers)
    np.testing.assert_array_equal(mine.codes, theirs.codes)


def test_a_partial_travels_to_another_process() -> None:
    part = Partial(SCHEMA).add(table(20))
    assert pickle.loads(pickle.dumps(part)) == part


def test_the_order_of_categories_does_not_depend_on_the_order_of_rows() -> None:
    rows = pa.Table.from_batches([table(200)])
    turned = rows.take(np.arange(199, -1, -1)).combine_chunks().to_batches()[0]
    assert learned(turned).categories == learned(table(200)).categories

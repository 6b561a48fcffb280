"""Columns of lists: padded in front, cut to the last values, standardised; the same from any file."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymle import data
from raymle.config import DataConfig, SplitConfig
from raymle.data import hashes, sequences, shards
from raymle.data.casts import canonical
from raymle.data.examples import rows as drawn
from raymle.errors import DataError
from raymle.model import golden
from raymle.records import Column
from raymle.store import open_store

LISTS = Column(name="curve", type="sequence", role="feature")


def column(values):
    return canonical(pa.array(values, pa.list_(pa.float64())), LISTS)


@given(
    st.lists(st.none() | st.lists(st.none() | st.floats(-9, 9), max_size=6), min_size=1, max_size=9), st.integers(1, 5)
)
def test_every_row_has_its_last_values_after_nothing(values, steps):
    found = sequences.padded(column(values), steps)
    for row, given_ in zip(found, values, strict=True):
        known = [np.nan if each is None else each for each in (given_ or [])][-steps:]
        expected = np.array([np.nan] * (steps - len(known)) + known)
        assert np.array_equal(row, expected, equal_nan=True)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1, 2], None, []], pa.list_(pa.int16())),
        pa.array([[1, 2], None, []], pa.large_list(pa.float32())),
        pa.array(["[1, 2.0]", None, "[]"]),
        pa.array(["1;2", "", ""]),
    ],
    ids=["integers", "large", "json text", "semicolons"],
)
def test_lists_of_any_kind_and_text_are_the_same(values):
    assert canonical(values, LISTS)[0].as_py() == [1, 2]


def test_a_fixed_size_list_is_a_list():
    fixed = pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2))
    assert canonical(fixed, LISTS).to_pylist() == [[1, 2], [3, 4]]


def test_text_that_is_no_list_is_refused():
    with pytest.raises(DataError, match="column 'curve' is sequence, but holds 'soft'"):
        canonical(pa.array(["[1, 2]", "soft"]), LISTS)


@given(st.lists(st.lists(st.floats(-9, 9), max_size=4), min_size=2, max_size=8))
def test_lists_are_the_same_row_only_when_they_are_equal(values):
    found = hashes.column_hashes(pa.array(values, pa.list_(pa.float64())))
    whole = hashes.column_hashes(pa.array([[9.0], *values], pa.large_list(pa.float64())))[1:]
    assert (found == whole).all(), "neither the batch nor the format matters"
    for one in range(len(values)):
        for other in range(one):
            assert (found[one] == found[other]) == (values[one] == values[other])


def table(rows=300):
    draw = np.random.default_rng(0)
    curves = [draw.normal(size=5).tolist() for _ in range(rows)]
    kind = ["up" if sum(curve) > 0 else "down" for curve in curves]
    curves[3], curves[4] = None, [1.0, 2.0]
    return pa.table({"curve": pa.array(curves, pa.list_(pa.float32())), "size": draw.normal(size=rows), "kind": kind})


def test_a_column_of_lists_is_learned_like_any_other(tmp_path):
    about = DataConfig(source="<table>", target="kind")
    splits = data.prepare(about, SplitConfig(), open_store(str(tmp_path)), folder=".", source=table())
    transform, arrays = shards.load_transform(splits), shards.load(splits, "train")
    assert transform.inputs.sequences[0].model_dump() == {"column": "curve", "steps": 5, "width": 1}
    assert arrays.numbers.shape[1] == 1 + 5
    assert abs(arrays.numbers[:, 1:].mean()) < 0.05
    assert abs(arrays.numbers[:, 1:].std() - 1) < 0.05
    assert {"mean", "min", "max"} <= shards.summary(splits)["columns"][0].keys()
    assert any(drift.column == "curve" for drift in splits.distribution)
    for made in (drawn(splits.data_schema, transform, 8), golden.rows(splits.data_schema, transform, 8)):
        encoded = transform.apply(made)
        assert np.isfinite(encoded.numbers).all()
        assert len(encoded) == made.num_rows


def test_infinity_in_a_list_is_refused(tmp_path):
    spoilt = table().set_column(0, "curve", pa.array([[np.inf]] * 300, pa.list_(pa.float64())))
    with pytest.raises(DataError, match="column 'curve' holds infinity in 300 of 300 rows"):
        data.prepare(DataConfig(source="<table>", target="kind"), SplitConfig(), open_store(str(tmp_path)),
                     folder=".", source=spoilt)  # fmt: skip


def test_values_come_back_in_their_own_units():
    sequence = sequences.Sequence(column="w", columns=("a", "b"), steps=2, means=(10, 0), stds=(2, 1))
    batch = pa.RecordBatch.from_pydict({"a": [[1.0, 2.0]], "b": [[3.0, 4.0]]})
    found = sequences.apply(batch, sequence)
    assert found.tolist() == [[-4.5, 3, -4, 4]]
    assert sequences.unscaled(found, sequence, "a").tolist() == [[1, 2]]

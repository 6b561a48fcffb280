import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from raymle import data
from raymle.config import DataConfig, SplitConfig
from raymle.data import examples, shards
from raymle.data.schema import conform
from raymle.store import open_store

ROWS = 900


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Every kind of column, some with nulls."""
    draw = np.random.default_rng(0)
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    table = pa.table({
        "plain": draw.normal(50, 5, ROWS),
        "holes": pa.array(draw.normal(size=ROWS), mask=draw.random(ROWS) < 0.3),
        "flag": draw.random(ROWS) < 0.9,
        "moment": [day + dt.timedelta(hours=int(each)) for each in draw.integers(0, 5000, ROWS)],
        "plan": pa.array(draw.choice(["basic", "pro"], ROWS), mask=draw.random(ROWS) < 0.3),
        "target": np.where(draw.random(ROWS) < 0.5, "yes", "no"),
    })  # fmt: skip
    store = open_store(str(tmp_path_factory.mktemp("runs")))
    return data.prepare(DataConfig(source="memory", target="target"), SplitConfig(), store, folder=".", source=table)


def test_rows_are_such_as_the_model_was_trained_on(splits):
    schema, transform = splits.data_schema, shards.load_transform(splits)
    rows = examples.rows(schema, transform, 2000)
    assert rows.column_names == [column.name for column in schema.features]
    assert conform(rows, schema, target=False).num_rows == 2000
    assert np.mean(rows["plain"].to_numpy()) == pytest.approx(50, abs=1)
    assert np.mean(rows["flag"].to_numpy()) == pytest.approx(0.9, abs=0.05)
    assert 2026 in {moment.year for moment in rows["moment"].to_pylist()}
    assert set(rows["plan"].to_pylist()) == {"basic", "pro", None}
    assert {name: rows[name].null_count > 0 for name in ("plain", "holes", "plan")} == {
        "plain": False, "holes": True, "plan": True,
    }  # fmt: skip
    encoded = transform.apply(rows)
    assert np.isfinite(encoded.numbers).all()
    assert len(encoded.codes) == 2000


def test_the_same_seed_makes_the_same_rows_and_none_are_none(splits):
    schema, transform = splits.data_schema, shards.load_transform(splits)
    assert examples.rows(schema, transform, 10) == examples.rows(schema, transform, 10)
    assert examples.rows(schema, transform, 0).num_rows == 0

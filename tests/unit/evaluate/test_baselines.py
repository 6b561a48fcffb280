"""What a forecast must beat: the right value of the window, in its own units, on the same rows."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymle.data.sequences import Sequence
from raymle.data.transform import Transform
from raymle.evaluate import baselines
from raymle.evaluate.baselines import folds, measured
from raymle.records import Column, Schema, Series


def known(season, horizon, window=8):
    series = Series(target="temp", time="at", window=window, horizon=horizon, step=1, season=season)
    schema = Schema(
        columns=(Column(name="temp", type="sequence", role="feature", steps=window),
                 Column(name="wind", type="sequence", role="feature", steps=window)),
        target="temp+1", task="regression", series=series,
    )  # fmt: skip
    window_of = Sequence(column="window", columns=("temp", "wind"), steps=window, means=(50, 0), stds=(7, 1))
    return schema, Transform((), (), "temp+1", (), sequences=(window_of,))


@given(st.integers(1, 8), st.integers(1, 20))
def test_seasonal_naive_is_a_whole_number_of_seasons_before_and_always_known(season, horizon):
    schema, transform = known(season, horizon)
    times = np.arange(8.0)  # the window's, so the moment to forecast is 7 + horizon
    batch = pa.RecordBatch.from_pydict({"temp": [times.tolist()], "wind": [[0.0] * 8]})
    found = baselines.of(schema, transform, transform.apply(batch))
    assert found["last_value"][0] == pytest.approx(7, abs=1e-4)
    before = 7 + horizon - found["seasonal_naive"][0]
    assert before == pytest.approx(season * -(-horizon // season), abs=1e-4)


def test_a_table_has_no_baselines():
    schema, transform = known(1, 1)
    assert baselines.of(schema.model_copy(update={"series": None}), transform, None) == {}
    assert measured(np.ones(3), np.ones(3), {}) == {}


def test_skill_is_what_is_gained_over_seasonal_naive():
    y = np.array([1.0, 2.0, 3.0, 4.0])
    found = measured(y, y + 0.5, {"seasonal_naive": y + 2, "last_value": y - 1})
    assert found["skill"] == pytest.approx(0.75)
    assert (found["seasonal_naive_mae"], found["last_value_rmse"]) == (2, 1)
    assert "skill" not in measured(y, y, {"seasonal_naive": y, "last_value": y}), "nothing can be gained"


def test_folds_follow_each_other_in_time_and_one_moment_is_in_one():
    draw = np.random.default_rng(0)
    times = np.repeat(np.arange(20), 3)
    order = draw.permutation(60)
    y = draw.normal(size=60)
    found = folds(y, y + 1, {"seasonal_naive": y + 2, "last_value": y}, times[order])
    assert len(found) == 5
    assert sum(fold.rows for fold in found) == 60
    assert all(one.last < other.first for one, other in pairwise(found))
    assert {fold.metrics["skill"] for fold in found} == {0.5}


def test_few_moments_make_few_folds():
    y = np.arange(3.0)
    assert [fold.rows for fold in folds(y, y, {"seasonal_naive": y, "last_value": y}, np.array([1, 1, 2]))] == [2, 1]

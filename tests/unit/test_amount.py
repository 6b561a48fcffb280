"""How much is trained where the spec leaves it to the rows."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymle import loader
from raymle.config import TrainConfig
from raymle.config.amount import left_open, settled
from raymle.errors import SpecError


@pytest.mark.parametrize(
    ("rows", "batch", "epochs"),
    [(1, 32, 50), (100, 32, 50), (3_000, 32, 16), (16_532, 128, 12), (102_400, 1024, 15), (10_000_000, 1024, 5)],
)
def test_small_tables_take_many_small_steps_and_large_ones_few_large_ones(rows, batch, epochs):
    found = settled(TrainConfig(), rows)
    assert (found.batch_size, found.epochs) == (batch, epochs)


@given(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(1, 100))
def test_what_is_given_stays_and_what_is_settled_stays_settled(rows, batch, epochs):
    given_both = TrainConfig(batch_size=batch, epochs=epochs)
    assert settled(given_both, rows) == given_both
    found = settled(TrainConfig(batch_size=batch), rows)
    assert found.batch_size == batch
    assert 5 <= found.epochs <= 50
    assert settled(found, 10 * rows) == found
    assert left_open(found) == ()


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_more_rows_never_take_fewer_rows_a_step_nor_fewer_steps(one, other):
    fewer, more = (settled(TrainConfig(), rows) for rows in sorted((one, other)))
    assert fewer.batch_size <= more.batch_size
    assert more.epochs * ceil(max(one, other) / more.batch_size) >= 0.5 * fewer.epochs * ceil(
        min(one, other) / fewer.batch_size
    )


def test_auto_can_be_written_read_and_overridden(tmp_path):
    spec = loader.from_mapping(
        {"name": "x", "data": {"source": "x.csv", "target": "y"}, "train": {"epochs": "auto", "batch_size": 64}},
        tmp_path,
    )
    assert left_open(spec.train) == ("train.epochs",)
    assert spec.train.model_dump(mode="json")["epochs"] == "auto"
    assert loader.override(spec, {"train.epochs": 3}).train.epochs == 3
    assert left_open(loader.override(spec, {"train.batch_size": "auto"}).train) == ("train.batch_size", "train.epochs")


@pytest.mark.parametrize("wrong", [0, -1, "many", 2.5, None])
def test_neither_a_number_nor_auto_is_refused(tmp_path, wrong):
    with pytest.raises(SpecError, match=r"train\.epochs"):
        loader.from_mapping(
            {"name": "x", "data": {"source": "x.csv", "target": "y"}, "train": {"epochs": wrong}}, tmp_path
        )

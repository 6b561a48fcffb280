"""Which trials train as one."""

import pytest
from small_table import splits as splits

from raymle import loader
from raymle.tune.check import most_epochs, trial_spec
from raymle.tune.shapes import shaper

RATE, SEED = "train.optimizer.learning_rate", "train.seed"


@pytest.fixture
def shape(splits):
    values = {"name": "t", "data": {"source": "x.csv", "target": "y"}, "train": {"batch_size": 64}}
    return shaper(loader.from_mapping(values | {"model": {"type": "mlp", "params": {"hidden": [16]}}}), splits, group=4)


def test_trials_that_differ_in_numbers_alone_have_one_shape(shape):
    plain = {"model.params.dropout": 0.0}
    assert shape(plain | {RATE: 0.1, SEED: 1}) == shape(plain | {RATE: 0.01, SEED: 2}) is not None
    assert shape(plain | {"model.params.hidden": [32]}) != shape(plain)
    assert shape(plain | {"train.optimizer.type": "sgd"}) != shape(plain)


@pytest.mark.parametrize(
    "values",
    [
        {"model.params.dropout": 0.5},
        {"model": {"type": "trees"}},
        {"model.params.dropout": 0.0, "model.params.hidden": [512, 512]},  # a stack of them is slower
    ],
)
def test_others_train_alone(shape, values):
    assert shape(values) is None


def test_what_is_left_to_the_rows_follows_each_trial(shape):
    spec = loader.from_mapping({"name": "t", "data": {"source": "x.csv", "target": "y"}})
    small, large = (trial_spec(spec, {"train.batch_size": batch}, 3_000).train for batch in ("auto", 1024))
    assert (small.batch_size, small.epochs) == (32, 16)
    assert (large.batch_size, large.epochs) == (1024, 50)
    assert most_epochs(spec, 3_000) == 16
    plain = {"model.params.dropout": 0.0}
    assert shape(plain | {"train.batch_size": "auto"}) == shape(plain | {"train.batch_size": 32}) != shape(plain)

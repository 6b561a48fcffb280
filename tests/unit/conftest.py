"""A small prepared table and a model trained on it."""

import numpy as np
import pyarrow as pa
import pytest

from raymle import data, train
from raymle.config import DataConfig, ModelConfig, SplitConfig, TrainConfig
from raymle.measure import metrics
from raymle.store import open_store


@pytest.fixture
def table():
    """Make a table whose target a model can learn."""
    return _table


def _table(rows=600, target="two"):
    """A number and a category that decide the target, and nulls here and there."""
    draw = np.random.default_rng(0)
    number = draw.normal(size=rows)
    colour = draw.choice(["red", "green", "blue"], rows)
    signal = number + (colour == "red") + draw.normal(scale=0.3, size=rows)
    targets = {
        "two": np.where(signal > 0.3, "yes", "no"),
        "three": np.select([signal < 0, signal < 1], ["low", "middle"], "high"),
        "number": 40 + 10 * signal,
    }
    return pa.table({
        "number": pa.array(number, mask=draw.random(rows) < 0.05),
        "colour": pa.array(colour, mask=draw.random(rows) < 0.05),
        "flag": draw.random(rows) < 0.5,
        "target": targets[target],
    })  # fmt: skip


@pytest.fixture
def prepared(tmp_path):
    """Prepare the table with that target."""

    def make(target="two"):
        config = DataConfig(source="memory", target="target")
        store = open_store(str(tmp_path / f"runs-{target}"))
        return data.prepare(config, SplitConfig(), store, folder=str(tmp_path), source=_table(target=target))

    return make


@pytest.fixture
def trained(prepared, tmp_path):
    """Train a model on the table and return what fit returned."""

    def make(target="two", model=None, **settings):
        splits = prepared(target)
        schema = splits.data_schema
        metric = metrics.primary(schema.task, len(schema.classes))
        defaults = {"epochs": 8, "batch_size": 64, "optimizer": {"learning_rate": 0.02}}
        config = TrainConfig.model_validate(defaults | settings)
        model = model or ModelConfig(params={"hidden": [16]})
        epochs = train.fit(config, model, splits, metric=metric, folder=str(tmp_path), out=tmp_path / "bundle")
        while True:
            try:
                next(epochs)
            except StopIteration as end:
                return end.value

    return make

"""Boosted trees grown by two workers."""

import os
import signal
from pathlib import Path

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
from helpers import drain, workers

from raymle import data, runtime, train
from raymle.config import ClusterConfig, DataConfig, ModelConfig, SplitConfig, TrainConfig
from raymle.errors import DataError
from raymle.measure import metrics
from raymle.store import open_store

FEW = {"rounds": 60, "num_leaves": 15}


@pytest.fixture(scope="module")
def cluster():
    with runtime.connected(runtime.decide(ClusterConfig(address="local"))):
        yield


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Prepare a table that is sorted by its target: each half of it shows a part of the world."""

    def make(kind, rows=4001):
        draw = np.random.default_rng(0)
        number, colour = draw.normal(size=rows), draw.choice(["red", "green", "blue"], rows)
        score = number * (colour == "red") + (colour == "blue") + draw.normal(scale=0.3, size=rows)
        target = {
            "two": np.where(score > 0.5, "yes", "no"),
            "three": np.select([score < 0, score < 1], ["low", "middle"], "high"),
            "number": 40 + 10 * score,
        }[kind]
        place = np.argsort(score)
        table = pa.table({"number": number[place], "colour": colour[place], "target": target[place]})
        store = open_store(str(tmp_path_factory.mktemp("runs")))
        return data.prepare(
            DataConfig(source="memory", target="target"), SplitConfig(), store, folder=".", source=table
        )

    return make


@pytest.fixture
def few(tmp_path):
    """Prepare so many train rows, and two for validation."""

    def make(rows):
        side = ["train"] * rows + ["validation", "validation", "test"]
        number = [float(place) for place in range(len(side))]
        table = pa.table({"number": number, "target": [10.0 * each for each in number], "side": side})
        return data.prepare(
            DataConfig(source="memory", target="target", task="regression"),
            SplitConfig(method="column", by="side"),
            open_store(str(tmp_path / f"runs-{rows}")),
            folder=".",
            source=table,
        )

    return make


def start(splits, out, *, params=FEW, **values):
    schema = splits.data_schema
    return train.fit(
        TrainConfig.model_validate({"early_stopping": None} | values),
        ModelConfig(type="trees", params=params),
        splits,
        metric=metrics.primary(schema.task, len(schema.classes)),
        folder=".",
        out=out,
    )


def text(fitted):
    return lightgbm.Booster(model_file=Path(fitted.bundle) / "model.txt").model_to_string()


@pytest.mark.parametrize("kind", ["two", "three", "number"])
def test_two_workers_grow_as_good_trees_as_one(cluster, prepared, tmp_path, kind):
    """Bins are those of all rows, so that only the order of sums differs."""
    splits = prepared(kind)
    alone, _ = drain(start(splits, tmp_path / "one"))
    reports, two = drain(start(splits, tmp_path / "two", workers=2))
    assert [(report.epoch, report.step) for report in reports] == [(1, 20), (2, 40), (3, 60)]
    for ours, theirs in zip(alone, reports, strict=True):
        for name in set(ours.metrics) - {"rows_per_second"}:
            assert theirs.metrics[name] == pytest.approx(ours.metrics[name], rel=0.02), name
    assert (two.workers, two.threads, two.warnings) == (2, 1, ())


def test_two_workers_stop_early_together_and_again_the_same(cluster, prepared, tmp_path):
    splits = prepared("two")
    values = {"params": {"rounds": 400, "learning_rate": 0.5}, "early_stopping": {"patience": 2}, "workers": 2}
    reports, fitted = drain(start(splits, tmp_path / "first", **values))
    assert fitted.epochs == len(reports) == fitted.best_epoch + 2 < 20
    _, again = drain(start(splits, tmp_path / "second", **values))
    assert text(again) == text(fitted)
    assert not any(name in text(fitted) for name in ("[machines", "[local_listen_port"))


def test_a_lost_worker_costs_its_group_a_start_and_changes_nothing(cluster, prepared, tmp_path):
    splits = prepared("number")
    values = {"params": {"rounds": 500, "num_leaves": 63, "min_data_in_leaf": 1}, "workers": 2}
    _, whole = drain(start(splits, tmp_path / "whole", **values))
    epochs = start(splits, tmp_path / "killed", **values)
    seen = [next(epochs) for _ in range(2)]
    os.kill(workers()[-1].pid, signal.SIGKILL)
    rest, fitted = drain(epochs)
    assert [epoch.epoch for epoch in [*seen, *rest]] == list(range(1, 26))
    assert "is gone" in fitted.warnings[0]
    assert "starts again from the beginning" in fitted.warnings[0]
    assert text(fitted) == text(whole)


def test_workers_with_a_row_or_two_grow_what_one_grows(cluster, few, tmp_path):
    params = {"rounds": 20, "min_data_in_leaf": 1}
    _, one = drain(start(few(3), tmp_path / "one", params=params))
    _, two = drain(start(few(3), tmp_path / "two", params=params, workers=2))
    assert two.parameters == one.parameters
    assert two.metrics["validation_loss"] == pytest.approx(one.metrics["validation_loss"])


def test_fewer_rows_than_workers_are_refused_before_a_group_starts(cluster, few, tmp_path):
    with pytest.raises(DataError, match="1 train row is too few for 2 workers"):
        drain(start(few(1), tmp_path / "bundle", workers=2))

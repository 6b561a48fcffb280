from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from raymle.config import EvaluateConfig, ModelConfig
from raymle.data.shards import Arrays
from raymle.errors import DataError
from raymle.evaluate import evaluator
from raymle.records import Epoch, Splits


@pytest.fixture
def model(bench, monkeypatch):
    """A bundle that is loaded whatever the path is."""
    fake = bench.bundle()
    loaded = SimpleNamespace(
        schema=fake.schema,
        transform=fake.transform,
        predict=fake.predict,
        labelled=fake.labelled,
        predict_encoded=lambda rows: np.stack([1 - rows.numbers[:, 0], rows.numbers[:, 0]], axis=1),
        contents=SimpleNamespace(model=ModelConfig(), transforms=()),
    )
    monkeypatch.setattr(evaluator, "load", lambda path: loaded)
    return loaded


@pytest.fixture
def labelled(bench):
    return bench.rows(range(60)).select(["id", "x", "late"])


def test_validation_rows_are_measured_and_reported(bench, model, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = Arrays(rng.random((80, 1)), np.empty((80, 0)), rng.integers(0, 2, 80), np.arange(80))
    monkeypatch.setattr(evaluator.shards, "load", lambda splits, side: {"validation": arrays}[side])
    splits = Splits(
        id="s", path="", sealed="", data_fingerprint="", data_schema=model.schema,
        rows={"train": 1, "validation": 80, "test": 1}, fingerprints={"train": "a", "validation": "b", "test": "c"},
    )  # fmt: skip
    history = [Epoch(epoch=1, step=1, metrics={"train_loss": 1.0}, best=True)]
    found = evaluator.validation(
        splits, tmp_path, config=EvaluateConfig(), out=tmp_path / "run", history=history, spec={"name": "my run"}
    )  # fmt: skip
    assert found.rows == 80
    assert found.intervals["roc_auc"][0] < found.metrics["roc_auc"] < found.intervals["roc_auc"][1]
    assert "my run" in (tmp_path / "run" / "report.html").read_text()
    assert found.report == str(tmp_path / "run" / "report.html")


def test_labelled_rows_of_ones_own_are_measured_and_nothing_is_written(model, labelled, tmp_path):
    found = evaluator.on_table(tmp_path, labelled, config=EvaluateConfig())
    assert found.rows == 60
    assert found.metrics["roc_auc"] > 0.9
    assert found.report is None
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"]


def test_labelled_rows_may_have_a_report(model, labelled, tmp_path):
    found = evaluator.on_table(tmp_path, labelled, config=EvaluateConfig(), out=tmp_path / "mine")
    assert "rows of your own" in (tmp_path / "mine" / "report.html").read_text()
    assert found.report


def test_rows_without_the_target_are_refused(model, labelled, tmp_path):
    with pytest.raises(DataError, match="late"):
        evaluator.on_table(tmp_path, labelled.drop_columns(["late"]), config=EvaluateConfig())


def test_a_users_metric_goes_by_its_functions_name(model, labelled, tmp_path):
    (tmp_path / "own_metrics_of_a_user.py").write_text("def profit(y, p):\n    return y.sum() - 3\n")
    config = EvaluateConfig(metrics=("own_metrics_of_a_user:profit",))
    found = evaluator.on_table(tmp_path, labelled, config=config, folder=str(tmp_path))
    assert found.metrics["profit"] == 17


def test_the_columns_may_come_in_any_order_and_number(model, labelled, tmp_path):
    more = labelled.select(["late", "x", "id"]).append_column("note", pa.array(["?"] * 60))
    assert evaluator.on_table(tmp_path, more, config=EvaluateConfig()).rows == 60

"""From splits to a bundle."""

from pathlib import Path

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
from safetensors.torch import load_file
from torch import nn

import raymle
from raymle import model, train
from raymle.config import ModelConfig, TrainConfig
from raymle.errors import RaymleError, SpecError, UsageError, WorkError
from raymle.records import Epoch
from raymle.train.best import Best
from raymle.train.display import display, line
from raymle.train.task import run


def test_what_comes_later_is_refused_in_a_sentence():
    with pytest.raises(UsageError, match="comes later"):
        train.check(TrainConfig(), ModelConfig(type="cells"))


def test_a_loss_of_the_other_task_is_refused(trained):
    with pytest.raises(SpecError, match="squared_error"):
        trained("two", loss="squared_error")


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
def test_a_regression_has_three_losses(trained, loss):
    assert trained("number", loss=loss, epochs=2).metrics["rmse"] > 0


def test_what_was_fitted_is_counted(trained):
    fitted = trained(epochs=3, early_stopping=None)
    weights = load_file(Path(fitted.bundle) / "weights.safetensors")
    assert fitted.parameters == sum(weight.numel() for weight in weights.values())
    assert (fitted.epochs, fitted.workers) == (3, 1)
    assert 1 <= fitted.best_epoch <= 3
    assert fitted.seconds > 0


def test_a_training_that_diverges_says_where_and_keeps_no_bundle(trained, tmp_path):
    with pytest.raises(WorkError, match=r"not finite at step \d+ of \d+ in epoch") as caught:
        trained("number", optimizer={"type": "sgd", "learning_rate": 1e25, "clip_norm": None})
    assert "learning_rate" in caught.value.hint
    assert not (tmp_path / "bundle").exists()


LOOP = """
import torch
def loop(context):
    optimizer = torch.optim.SGD(context.model.parameters(), lr=0.5)
    inputs = {
        "numbers": torch.from_numpy(context.train.numbers.copy()),
        "categories": torch.from_numpy(context.train.codes.astype("int64")),
    }
    for epoch in range(context.params.epochs):
        loss = torch.nn.functional.cross_entropy(
            context.model(**inputs), torch.from_numpy(context.train.target.copy())
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield context.report(train_loss=loss.item())
"""


def test_a_users_loop_trains_the_model_and_never_sees_test(trained, tmp_path):
    (tmp_path / "loop_of_mine.py").write_text(LOOP)
    fitted = trained(loop="loop_of_mine:loop", epochs=12, early_stopping=None)
    assert fitted.epochs == 12
    assert fitted.metrics["roc_auc"] > 0.8
    assert "test" not in train.own.Context.__dataclass_fields__


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("def loop(context): return 1", SpecError, "not a generator"),
        ("def loop(context): yield 1", SpecError, "yielded 1"),
        ("def loop(context):\n    return\n    yield", WorkError, "without a report"),
    ],
)
def test_a_users_loop_that_does_not_report_is_an_error(trained, tmp_path, text, error, message):
    (tmp_path / "loop_of_mine.py").write_text(text)
    with pytest.raises(error, match=message):
        trained(loop="loop_of_mine:loop")


def test_trees_stop_early_and_keep_the_best_round(trained):
    fitted = trained(model=ModelConfig(type="trees", params={"rounds": 400, "num_leaves": 31}))
    assert fitted.epochs == fitted.best_epoch + 3
    booster = lightgbm.Booster(model_file=Path(fitted.bundle) / "model.txt")
    assert booster.num_trees() == 20 * fitted.best_epoch
    assert fitted.metrics["roc_auc"] > 0.85


def test_trees_of_one_seed_are_the_same(trained, tmp_path, table):
    parameters = {"rounds": 40, "feature_fraction": 0.5, "bagging_fraction": 0.5}
    first = model.load(trained(model=ModelConfig(type="trees", params=parameters)).bundle).predict(table())
    (tmp_path / "bundle").rename(tmp_path / "first")
    second = model.load(trained(model=ModelConfig(type="trees", params=parameters)).bundle).predict(table())
    assert (first == second).all()


def test_trees_with_nothing_to_split_on_still_predict(trained, table):
    fitted = trained(model=ModelConfig(type="trees", params={"min_data_in_leaf": 10_000}))
    predicted = model.load(fitted.bundle).predict(table())
    assert predicted.std(axis=0).max() < 1e-9


REPORT = Epoch(
    epoch=2, step=20, metrics={"train_loss": 0.5, "validation_loss": 0.6, "roc_auc": 0.9, "rows_per_second": 1e5}
)


def test_a_line_tells_epoch_losses_metric_and_speed():
    text = line(REPORT, 5)
    assert text == "epoch 2/5  train_loss 0.5000  validation_loss 0.6000  roc_auc 0.9000  100,000 rows/s"


def test_without_a_terminal_every_epoch_is_a_line_on_stderr(capsys):
    with display(5) as show:
        show(REPORT)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_on_a_terminal_the_time_left_is_shown(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with display(5) as show:
        show(REPORT)
    assert "roc_auc 0.9000" in capsys.readouterr().err


def test_errors_of_workers_keep_their_kind():
    from raymle.train.backends import group

    class GroupError(Exception):
        def __init__(self, failures):
            self.worker_failures = failures

    theirs = group.failure(GroupError({1: ValueError("odd shape")}))
    assert str(theirs) == "training worker 1 failed: ValueError: odd shape"
    ours = group.failure(GroupError({0: SpecError("no such thing", hint="look")}))
    assert isinstance(ours, RaymleError)
    assert (type(ours), ours.hint) == (SpecError, "look")


def test_of_epochs_with_the_same_metric_the_one_with_the_lowest_loss_is_kept():
    best, module = Best(), nn.Linear(1, 1)
    losses = [0.8, 0.5, 0.6]
    kept = [best.take(module, {"validation_loss": loss}, 1.0) for loss in losses]
    assert kept == [True, True, False]
    assert (best.epoch, best.epochs) == (2, 3)


def test_the_last_good_weights_of_an_anomaly_training_have_a_threshold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    odd = draw.random(400) < 0.1
    table = pa.table({"amount": np.where(odd, 9.0, 3.0) + draw.normal(size=400), "odd": np.where(odd, "yes", "no")})

    def diverges(*given):
        best = yield from run(*given)
        best.problem = "the loss is not finite"
        return best

    monkeypatch.setattr("raymle.train.trainer.run", diverges)
    experiment = raymle.Experiment(
        name="odd", data=table, target="odd", task="anomaly", model={"type": "autoencoder"},
        storage="runs",
    )  # fmt: skip
    with pytest.raises(WorkError, match=r"the weights of epoch \d+ are in"):
        experiment.train()
    kept = model.load(next((tmp_path / "runs" / "runs").glob("*/last-good")))
    said = kept.predict_table(table.drop(["odd"]))["prediction"].to_pylist()
    assert 10 < said.count("yes") < 200

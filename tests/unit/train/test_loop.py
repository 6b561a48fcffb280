"""One worker's epochs."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from helpers import drain, train_config
from hypothesis import given, settings
from hypothesis import strategies as st

from raymle.config import ModelConfig
from raymle.config.train import OptimizerConfig
from raymle.data.shards import Arrays
from raymle.model.build import build
from raymle.records import Inputs
from raymle.train import loop, order
from raymle.train.backends.inline import World
from raymle.train.learner import share
from raymle.train.objective import Objective
from raymle.train.optimizer import Stepper, factor

CLASSES = Objective("classification", "roc_auc", outputs=2, positive=1)
NUMBER = Objective("regression", "rmse", mean=50.0, std=10.0)


def arrays(rows=300, seed=0, objective=CLASSES):
    draw = np.random.default_rng(seed)
    numbers = draw.normal(size=(rows, 4)).astype(np.float32)
    codes = draw.integers(0, 5, (rows, 2)).astype(np.int32)
    signal = numbers[:, 0] + (codes[:, 0] == 1)
    target = (signal > 0.2).astype(np.int64) if objective is CLASSES else 50 + 10 * signal.astype(np.float64)
    return Arrays(numbers, codes, target, np.argsort(draw.random(rows)))


def network(objective=CLASSES, **params):
    params = {"hidden": [16], "dropout": 0.0} | params
    return build(ModelConfig(params=params), Inputs(numbers=4, categories=(5, 5)), objective.outputs)


def config(**values):
    defaults = {"epochs": 4, "batch_size": 32, "optimizer": {"learning_rate": 0.01}, "early_stopping": None}
    return train_config(**defaults | values)


def run(module, train=None, validation=None, objective=CLASSES, **values):
    train = train or arrays(objective=objective)
    validation = validation or arrays(200, seed=1, objective=objective)
    epochs = loop.epochs(module, train, validation, config(**values), objective=objective, world=World())
    return drain(epochs)


@pytest.mark.parametrize("objective", [CLASSES, NUMBER], ids=["classes", "number"])
def test_it_learns_and_reports_every_epoch(objective):
    reports, best = run(network(objective), objective=objective)
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert [report.step for report in reports] == [10, 20, 30, 40]
    first, last = reports[0].metrics, reports[-1].metrics
    assert last["train_loss"] < first["train_loss"]
    assert {"validation_loss", objective.metric, "learning_rate", "grad_norm", "rows_per_second"} <= set(last)
    assert best.epochs == 4
    assert best.metrics == reports[best.epoch - 1].metrics


def test_regression_is_measured_in_raw_units():
    reports, _ = run(network(NUMBER), objective=NUMBER, epochs=1)
    assert 1 < reports[0].metrics["rmse"] < 15


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_optimizer_and_precision_learns(kind, precision):
    reports, _ = run(network(), optimizer={"type": kind, "learning_rate": 0.01}, precision=precision)
    assert reports[-1].metrics["train_loss"] < reports[0].metrics["train_loss"]


def test_the_same_seed_gives_the_same_weights_dropout_included():
    results = [run(network(dropout=0.3), seed=seed)[1].weights for seed in (3, 3, 4)]
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
    assert not torch.equal(results[0]["layers.0.weight"], results[2]["layers.0.weight"])


def test_the_order_of_the_rows_on_disk_changes_nothing():
    train, shuffle = arrays(), np.random.default_rng(9).permutation(300)
    places = np.argsort(shuffle)
    other = Arrays(train.numbers[shuffle], train.codes[shuffle], train.target[shuffle], places[train.order])
    first, second = run(network(), train)[1], run(network(), other)[1]
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)


@given(rows=st.integers(1, 200), batch=st.integers(1, 64), workers=st.integers(1, 5), epoch=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_every_row_is_seen_once_an_epoch_on_any_number_of_workers(rows, batch, workers, epoch):
    class Place:
        def __init__(self, rank):
            self.rank, self.size = rank, workers

    parts = order.shuffled(arrays(rows).order, 0, epoch, steps=-(-rows // batch))
    assert max(map(len, parts)) <= batch
    assert min(map(len, parts)) >= min(map(len, parts[:1])) - 1
    seen = Counter()
    for part in parts:
        shares = [share(part, Place(rank)) for rank in range(workers)]
        assert all(len(mine) for mine, _ in shares)
        seen.update(row for mine, weight in shares if weight for row in mine.tolist())
    assert seen == Counter(range(rows))


def test_a_table_of_many_windows_learns_as_much():
    train, validation = arrays(3000), arrays(1000, seed=1)
    whole, windowed = (run(network(), train, validation, shuffle_gib=gib)[1].metrics for gib in (4.0, 20e-6))
    assert windowed != whole
    assert windowed["roc_auc"] == pytest.approx(whole["roc_auc"], abs=0.01)


def test_one_row_and_a_batch_larger_than_the_data_train():
    for rows in (1, 2):
        reports, best = run(network(), arrays(rows), batch_size=1024, epochs=1)
        assert reports[0].step == 1
        assert best.weights


def test_batch_normalisation_survives_a_last_batch_of_one_row():
    run(network(normalisation="batch"), arrays(33), batch_size=32, epochs=1)


def test_validation_of_one_class_is_judged_by_its_loss():
    validation = arrays(50, seed=1)
    validation = Arrays(validation.numbers, validation.codes, np.ones(50, np.int64), validation.order)
    reports, best = run(network(), validation=validation)
    assert "roc_auc" not in reports[0].metrics
    assert best.metrics["validation_loss"] == min(report.metrics["validation_loss"] for report in reports)


def test_early_stopping_keeps_the_best_weights():
    noise = arrays(60)
    noise = Arrays(noise.numbers, noise.codes, np.random.default_rng(3).integers(0, 2, 60), noise.order)
    module = network()
    reports, best = run(module, noise, epochs=60, early_stopping={"patience": 3}, optimizer={"learning_rate": 0.05})
    assert len(reports) == best.epoch + 3 < 60
    assert reports[best.epoch - 1].best
    assert not any(report.best for report in reports[best.epoch :])
    module.load_state_dict(best.weights)
    again = loop.validate(module, arrays(200, seed=1), CLASSES, World())
    assert again["roc_auc"] == pytest.approx(best.metrics["roc_auc"])


def test_a_caller_can_stop_between_two_epochs():
    epochs = loop.epochs(network(), arrays(), arrays(), config(epochs=50), objective=CLASSES, world=World())
    next(epochs)
    with pytest.raises(StopIteration) as end:
        epochs.send(True)
    assert end.value.value.epochs == 1


def test_a_loss_that_is_not_finite_stops_at_its_step_with_the_last_good_weights():
    train = arrays(3200, objective=NUMBER)
    steps = order.shuffled(train.order, 0, 2, steps=100)
    module, world = network(NUMBER), World()
    epochs = loop.epochs(module, train, arrays(50, objective=NUMBER), config(), objective=NUMBER, world=world)
    good = next(epochs)
    train.target[steps[41][0]] = np.nan
    with pytest.raises(StopIteration) as end:
        next(epochs)
    best = end.value.value
    assert best.problem == "the loss is not finite at step 42 of 100 in epoch 2"
    assert best.epoch == good.epoch == 1
    assert all(torch.isfinite(value).all() for value in best.weights.values())


def test_a_learning_rate_beyond_all_bounds_stops_the_training():
    sgd = {"type": "sgd", "learning_rate": 1e20, "clip_norm": None}
    _, best = run(network(NUMBER), objective=NUMBER, optimizer=sgd)
    assert "not finite at step" in best.problem
    assert not best.weights


def test_gradients_are_clipped_at_the_norm_and_the_norm_before_is_recorded():
    reports, _ = run(network(NUMBER), objective=NUMBER, optimizer={"clip_norm": 1e-9}, epochs=2)
    assert reports[0].metrics["grad_norm"] > 0.01
    assert reports[0].metrics["train_loss"] == pytest.approx(reports[1].metrics["train_loss"], rel=0.05)


def test_frozen_weights_stay_as_they_are():
    module = network()
    module.embeddings.requires_grad_(False)
    before = module.embeddings[0].weight.clone()
    run(module)
    assert torch.equal(module.embeddings[0].weight, before)


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd", "rmsprop"])
def test_steps_are_those_of_torchs_own_optimizer(kind):
    make = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}
    ours, theirs = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    settings = {"lr": 0.1, "weight_decay": 0.02}
    reference = (
        torch.optim.SGD(theirs.parameters(), momentum=0.9, **settings)
        if kind == "sgd"
        else make[kind](theirs.parameters(), **settings)
    )
    values = OptimizerConfig(type=kind, learning_rate=0.1, weight_decay=0.02)
    stepper = Stepper(list(ours.parameters()), values, steps=5)
    for _ in range(5):
        rows = torch.randn(4, 3)
        for module in (ours, theirs):
            module(rows).pow(2).sum().backward()
        stepper.step()
        reference.step()
        reference.zero_grad()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_the_cosine_schedule_goes_from_the_whole_rate_to_nothing():
    assert [factor("cosine", taken, 10) for taken in (0, 5, 10)] == pytest.approx([1, 0.5, 0])
    reports, _ = run(network(), optimizer={"learning_rate": 0.01, "schedule": "cosine"})
    rates = [report.metrics["learning_rate"] for report in reports]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.001


def test_training_never_imports_torchs_compiler():
    code = (
        "import sys, torch; from raymle.config.train import OptimizerConfig; from raymle.train.optimizer import Stepper;"
        "layer = torch.nn.Linear(2, 1); stepper = Stepper(list(layer.parameters()), OptimizerConfig(), steps=1);"
        "layer(torch.ones(1, 2)).sum().backward(); stepper.step(); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_epoch_of_anomalies_is_judged_at_the_threshold_that_it_will_have():
    objective = Objective("classification", "f1", outputs=2, positive=1, anomaly=True)
    for shift in (-10.0, 0.0, 10.0):
        scores = np.array([-3.0, -2.9, -1.0, -0.5]) + shift
        predicted = objective.predictions(np.column_stack([np.zeros(4), scores]))
        assert objective.score(np.array([0, 0, 1, 1]), predicted)["f1"] == 1.0

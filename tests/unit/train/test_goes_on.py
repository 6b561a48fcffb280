"""A training that is broken off at any step and gone on with ends at the same bits."""

import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
import torch
from helpers import drain, train_config
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from raymle.data.shards import Arrays
from raymle.errors import ArtifactError
from raymle.store import open_store
from raymle.train import checkpoint, keeper, loop, stop
from raymle.train.backends.inline import World
from raymle.train.best import SAVE, STOP
from raymle.train.keeper import Keeper, Wish
from raymle.train.objective import Objective

CLASSES = Objective("classification", "roc_auc", outputs=2, positive=1)
STEPS, EPOCHS = 4, 4


class Net(nn.Module):
    def __init__(self, crash_at=None, hidden=8):
        super().__init__()
        torch.manual_seed(7)
        self.layers = nn.Sequential(nn.Linear(3, hidden), nn.BatchNorm1d(hidden), nn.Dropout(0.3), nn.Linear(hidden, 2))
        self.crash_at, self.calls = crash_at, 0

    def forward(self, numbers, categories):
        self.calls += self.training
        if self.training and self.calls == self.crash_at:
            raise KeyboardInterrupt
        return self.layers(numbers)


def rows(count=128):
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=(count, 3)).astype(np.float32)
    return Arrays(numbers, np.zeros((count, 0), np.int32), (numbers[:, 0] > 0).astype(np.int64), np.arange(count))


def epochs(storage, net, **values):
    config = train_config(**{"epochs": EPOCHS, "batch_size": 32, "early_stopping": None, **values})
    kept = Keeper(str(storage), "run") if storage else None
    return loop.epochs(net, rows(), rows(61), config, objective=CLASSES, world=World(), keeper=kept)


def eager(patch):
    """Save a checkpoint at every step."""
    patch.setattr(keeper, "FIRST_S", -1.0)
    patch.setattr(keeper, "COST", float("inf"))
    patch.setattr(keeper, "LOOK_S", 0.0)


SETTINGS = [
    {"optimizer": {"schedule": "cosine", "warmup": 0.2}},
    {"optimizer": {"schedule": "plateau", "type": "sgd"}, "ema": 0.9},
    {"optimizer": {"schedule": "one_cycle", "type": "rmsprop"}, "accumulate": 2},
    {"precision": "bf16", "label_smoothing": 0.1, "class_weights": None, "early_stopping": {"patience": 1}},
]


@settings(max_examples=15)
@given(crash_at=st.integers(1, STEPS * EPOCHS), values=st.sampled_from(SETTINGS))
def test_a_training_goes_on_at_the_same_bits(tmp_path_factory, crash_at, values):
    storage = tmp_path_factory.mktemp("runs")
    expected, whole = drain(epochs(None, Net(), **values))
    crash_at *= values.get("accumulate", 1)
    with pytest.MonkeyPatch.context() as patch:
        eager(patch)
        with suppress(KeyboardInterrupt):  # early stopping may end it before
            drain(epochs(storage, Net(crash_at), **values))
        torch.manual_seed(99)  # another process has other random numbers
        net = Net()
        reports, again = drain(epochs(storage, net, **values))
    assert [report.epoch for report in reports] == [report.epoch for report in expected]
    for ours, theirs in zip(reports, expected, strict=True):
        for name in ("train_loss", "validation_loss", "roc_auc", "learning_rate", "grad_norm"):
            assert ours.metrics[name] == theirs.metrics[name], name
    assert all(torch.equal(again.weights[name], whole.weights[name]) for name in whole.weights)
    assert (again.epoch, again.epochs) == (whole.epoch, whole.epochs)
    steps = net.calls // values.get("accumulate", 1)
    assert steps <= max(0, STEPS * len(expected) - (crash_at // values.get("accumulate", 1) - 1))  # none done twice


def test_a_run_that_is_asked_to_stop_keeps_its_state_and_says_so(tmp_path):
    training = epochs(tmp_path, Net())
    first = next(training)
    stop.ask(open_store(str(tmp_path)), "run")
    rest, best = drain(training)
    assert (first.epoch, rest, best.is_stopped) == (1, [], True)
    found = checkpoint.newest(open_store(str(tmp_path)), checkpoint.folder_of("run")).position
    assert found.epochs == 1
    assert 0 < found.steps < STEPS
    stop.forget(open_store(str(tmp_path)), "run")
    reports, best = drain(epochs(tmp_path, Net()))
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert not best.is_stopped


def test_epochs_that_are_told_again_take_the_same_answers(tmp_path):
    training = epochs(tmp_path, Net())
    expected = [next(training), next(training)]
    assert training.send(SAVE) == expected[1]
    training.close()
    again = epochs(tmp_path, Net())
    assert [next(again), again.send(SAVE), again.send(None), again.send(SAVE)] == [*expected[:1] * 2, *expected[1:] * 2]
    with pytest.raises(StopIteration) as end:
        again.send(STOP)
    assert (end.value.value.epochs, end.value.value.is_stopped) == (2, False)


def test_a_checkpoint_of_another_network_is_refused_by_its_tensors(tmp_path):
    training = epochs(tmp_path, Net())
    next(training)
    stop.ask(open_store(str(tmp_path)), "run")
    drain(training)
    with pytest.raises(ArtifactError, match=r"of another network: .*layers\.0\.bias is \[8\] there and \[5\] here"):
        drain(epochs(tmp_path, Net(hidden=5)))


def test_a_training_that_lasts_a_moment_leaves_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(keeper, "FIRST_S", 60.0)  # a moment on a busy machine
    drain(epochs(tmp_path, Net()))
    assert not (tmp_path / checkpoint.folder_of("run")).exists()


def test_checkpoints_take_a_small_share_of_the_time(tmp_path, monkeypatch):
    monkeypatch.setattr(keeper, "FIRST_S", 0.0)
    kept = Keeper(str(tmp_path), "run")
    kept.save(World(), checkpoint.Position(1, 0), {"weight": torch.zeros(1_000_000)}, {})
    cost, saved = kept._cost, kept._saved
    assert cost > 0
    assert not kept._is_due(saved + 49 * cost)
    assert kept._is_due(saved + 51 * cost)


def test_a_warning_is_answered_by_one_checkpoint():
    kept = Keeper(warned=lambda: True)
    ask = Wish(save=False, stop=False, ask=True, stride=1)
    assert kept.settle(ask._replace(ask=False)).save is False
    assert kept.settle(ask).save is True
    assert kept.settle(ask).save is False


HANGS = """
import sys, threading, time
from pathlib import Path
from raymle.train.watch import Watch
watch = Watch(Path(sys.argv[1]), 0.5)
watch.beat()
def in_here(): threading.Event().wait(60)
if sys.argv[2] == "hang":
    in_here()
watch.close()
time.sleep(4)
print("lived")
"""


@pytest.mark.parametrize("how", ["hang", "finish"])
def test_a_process_that_hangs_writes_its_stacks_and_ends(tmp_path, how):
    started = time.monotonic()
    command = [sys.executable, "-c", HANGS, tmp_path / "stacks.txt", how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    told = (tmp_path / "stacks.txt").read_text()
    if how == "hang":
        assert (done.returncode, done.stdout) == (1, "")
        assert "in in_here" in told
        assert time.monotonic() - started < 45
    else:
        assert (done.stdout.strip(), told) == ("lived", "")

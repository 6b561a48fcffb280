"""What cannot be trained is found before any data is read. Knows no framework."""

from math import ceil

from raymle import model as models
from raymle.config.model import ModelConfig
from raymle.config.train import PretrainedConfig, TrainConfig, WorkersRange
from raymle.errors import UsageError

LOSSES = {
    "classification": ("cross_entropy",),
    "regression": ("squared_error", "absolute_error", "huber"),
}
"""Names of the losses of each task; the first is its default."""
SCHEDULES = ("none", "cosine")
ROUNDS_PER_EPOCH = 20
"""Rounds of trees between two reports."""


def check(train: TrainConfig, model: ModelConfig, *, folder: str = ".") -> None:
    """Raise for what cannot be trained, before any data is read.

    Raises:
        UsageError: the feature comes later.
        SpecError: a parameter or loss does not exist.
    """
    models.check(model, folder)
    if later := _comes_later(train, model):
        raise UsageError(f"{later} comes later")
    known = {name for losses in LOSSES.values() for name in losses}
    if train.loss != "auto" and train.loss not in known:
        raise UsageError(f"train.loss {train.loss!r} comes later", hint=f"use auto or {', '.join(sorted(known))}")


def count(train: TrainConfig) -> int:
    """Return how many workers train."""
    return train.workers.min if isinstance(train.workers, WorkersRange) else train.workers


def most_epochs(train: TrainConfig, model: ModelConfig) -> int:
    """Return how many epochs there are at most; trees count every few rounds as one."""
    if model.type != "trees":
        return train.epochs
    rounds: int = models.parameters(model).rounds
    return ceil(rounds / ROUNDS_PER_EPOCH)


def _comes_later(train: TrainConfig, model: ModelConfig) -> str:
    """Name the first configured feature that this version does not have; empty when it has them all."""
    later = {
        "an elastic number of train.workers": isinstance(train.workers, WorkersRange),
        "train.backend horovod": train.backend == "horovod",
        "train.pretrained": train.pretrained != PretrainedConfig(),
        f"train.optimizer.schedule {train.optimizer.schedule}": train.optimizer.schedule not in SCHEDULES,
        "model.type trees with more than one worker": model.type == "trees" and count(train) > 1,
        "train.loop with more than one worker": train.loop is not None and count(train) > 1,
        "train.loop with model.type trees": train.loop is not None and model.type == "trees",
    }
    return next((name for name, is_used in later.items() if is_used), "")

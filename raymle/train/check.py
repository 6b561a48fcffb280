"""What cannot be trained is found before any data is read. Knows no framework."""

import json
from difflib import get_close_matches
from importlib.util import find_spec
from math import ceil

from raymle import model as models
from raymle.config.model import ModelConfig
from raymle.config.train import PretrainedConfig, TrainConfig, WorkersRange
from raymle.data import own, shards
from raymle.data.transform import Transform
from raymle.errors import SetupError, SpecError, UsageError
from raymle.records import Splits

LOSSES = {
    "classification": ("cross_entropy",),
    "regression": ("squared_error", "absolute_error", "huber"),
    "anomaly": ("reconstruction",),
}
"""Names of the losses of each task; the first is its default."""
STACKABLE = ("linear", "mlp")
"""Families whose trainings can be one stack."""
ROUNDS_PER_EPOCH = 20
"""Rounds of trees between two reports."""


def check(train: TrainConfig, model: ModelConfig, *, folder: str = ".") -> None:
    """Raise for what cannot be trained, before any data is read.

    Raises:
        UsageError: the feature comes later, or does not go with another one.
        SpecError: a parameter or loss does not exist.
    """
    models.check(model, folder)
    if model.is_grown:
        _check_grown(train, model)
    _check_pretrained(train, model)
    if train.backend == "horovod":
        _check_horovod(train)
    _check_loss(train, folder)


def fits(model: ModelConfig, splits: Splits, *, folder: str = ".") -> None:
    """Refuse a family that cannot take what the prepared rows consist of.

    Raises:
        UsageError: trees with texts, or a network for texts without any.
        SpecError: a transformer with the tokenizer of another one.
    """
    takes(model, shards.load_transform(splits), folder=folder)


def takes(model: ModelConfig, transform: Transform, *, folder: str) -> None:
    """Refuse a family that cannot take what a transform gives; raises as ``fits`` does."""
    models.fits(model, transform.inputs)
    models.fits_texts(model, transform.texts, folder=folder)


def _check_horovod(train: TrainConfig) -> None:
    if isinstance(train.workers, WorkersRange):
        raise UsageError("train.workers is a range, and Horovod's groups do not change", hint="give one number")
    if count(train) > 1 and find_spec("horovod") is None:
        raise SetupError("train.backend is horovod, and horovod is not installed", hint="make horovod builds it, once")


def _check_grown(train: TrainConfig, model: ModelConfig) -> None:
    if model.type == "isolation_forest" and train.workers != 1:
        raise UsageError("an isolation forest is grown by one worker", hint="leave train.workers out")
    if isinstance(train.workers, WorkersRange):
        raise UsageError(
            "train.workers is a range, and trees are grown by a group that does not change", hint="give one number"
        )
    if set_for := _for_networks(train):
        raise UsageError(f"{set_for} is for networks, and model.type is {model.type}", hint=f"leave {set_for} out")


def _check_pretrained(train: TrainConfig, model: ModelConfig) -> None:
    asked = train.pretrained
    loads = PretrainedConfig(exclude=asked.exclude) if model.is_hugging_face else asked  # it has weights of its own
    if asked.source is None and loads != PretrainedConfig():
        name = next(name for name in loads.model_fields_set if name != "source")
        raise SpecError(
            f"train.pretrained.{name} is set, but nothing is loaded",
            hint="name a RUN, models:/NAME@alias, a bundle or a .safetensors file in train.pretrained.from",
        )
    if train.loop and (asked.layer_decay < 1 or asked.unfreeze):
        name = "unfreeze" if asked.unfreeze else "layer_decay"
        raise UsageError(
            f"train.pretrained.{name} is for raymle's own loop, and train.loop is yours",
            hint=f"leave {name} out; train.pretrained.trainable freezes layers in your loop too",
        )


def _check_loss(train: TrainConfig, folder: str) -> None:
    """Find the loss by its name, or import the user's own."""
    known = {name for losses in LOSSES.values() for name in losses}
    if ":" in train.loss:
        own.function(train.loss, folder)
    elif train.loss not in {"auto", *known}:
        near = get_close_matches(train.loss, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"use auto, {', '.join(sorted(known))}, or your module:function"
        raise SpecError(f"train.loss {train.loss!r} is not a loss", hint=hint)


def _for_networks(train: TrainConfig) -> str:
    """Name the first setting that trees cannot follow; empty when there is none."""
    asked = {
        "train.backend horovod": train.backend == "horovod",
        "train.loss of your own": ":" in train.loss,
        "train.ema": train.ema is not None,
        "train.label_smoothing": train.label_smoothing > 0,
        "train.accumulate": train.accumulate > 1,
        "train.class_weights": train.class_weights is not None,
        "train.loop": train.loop is not None,
        "train.pretrained": train.pretrained != PretrainedConfig(),
    }
    return next((name for name, is_used in asked.items() if is_used), "")


def why_not(train: TrainConfig, model: ModelConfig) -> str:
    """Say why a training cannot be one of a stack; empty when it can.

    Raises:
        SpecError: a parameter of the model is unknown or has a wrong value.
    """
    if model.type not in STACKABLE:
        return f"model.type is {model.type}, and only {' and '.join(STACKABLE)} are trained in a stack"
    parameters = models.parameters(model)
    reasons = {
        "model.params.dropout is not 0": getattr(parameters, "dropout", 0) > 0,
        "model.params.normalisation is batch": getattr(parameters, "normalisation", "none") == "batch",
        "train.workers is not 1": train.workers != 1,
        "train.resources.gpu is not 0": train.resources.gpu > 0,
        "train.loop is your own": train.loop is not None,
        "train.loss is your own": ":" in train.loss,
        "train.precision is not fp32": train.precision != "fp32",
        "train.accumulate is not 1": train.accumulate > 1,
        "train.ema is set": train.ema is not None,
        "train.pretrained is set": train.pretrained != PretrainedConfig(),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def shape_of(train: TrainConfig, model: ModelConfig) -> str:
    """Name all that the trainings of one stack have in common: those with equal names can be one.

    They may differ in learning rate, weight decay, seed, epochs and early stopping.
    """
    shared = train.model_dump(mode="json", exclude={"seed", "epochs", "early_stopping"})
    shared["optimizer"] = train.optimizer.model_dump(mode="json", exclude={"learning_rate", "weight_decay"})
    return json.dumps({"train": shared, "model": model.model_dump(mode="json")}, sort_keys=True)


def keeps(train: TrainConfig, model: ModelConfig) -> bool:
    """Whether a training leaves checkpoints: our own loop does; trees and the user's loop begin anew."""
    return not model.is_grown and train.loop is None


def count(train: TrainConfig) -> int:
    """Return how many workers are needed; there may be more when it is a range."""
    return train.workers.min if isinstance(train.workers, WorkersRange) else train.workers


def is_group(train: TrainConfig) -> bool:
    """Whether workers of their own train, and not this process."""
    return (train.workers.max if isinstance(train.workers, WorkersRange) else train.workers) > 1


def most_epochs(train: TrainConfig, model: ModelConfig) -> int:
    """Return how many epochs there are at most; trees count every few rounds as one."""
    if not model.is_grown:
        return train.epochs
    if model.type == "isolation_forest":
        return 1
    rounds: int = models.parameters(model).rounds
    return ceil(rounds / ROUNDS_PER_EPOCH)

"""Choose how a model is trained, follow its epochs, and keep the best of it as a bundle."""

import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from raymle import model as models
from raymle.config.model import ModelConfig
from raymle.config.train import PretrainedConfig, TrainConfig, WorkersRange
from raymle.data import shards
from raymle.errors import UsageError, WorkError
from raymle.model.build import parameters
from raymle.model.bundle import Contents
from raymle.records import Epoch, Metrics, Record, Splits
from raymle.train.backends.inline import World, device
from raymle.train.loop import Best
from raymle.train.objective import LOSSES, of
from raymle.train.optimizer import SCHEDULES
from raymle.train.task import Task, run

if TYPE_CHECKING:
    from lightgbm import Booster
    from torch import nn


class Fitted(Record):
    """What training made."""

    bundle: str
    parameters: int
    epochs: int
    best_epoch: int
    seconds: float
    metrics: Metrics
    workers: int = 1


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


def fit(
    train: TrainConfig,
    model: ModelConfig,
    splits: Splits,
    *,
    metric: str,
    folder: str,
    out: Path,
    transforms: Sequence[str] = (),
) -> Generator[Epoch, bool | None, Fitted]:
    """Train one model, yield each epoch's report, and save the best weights as a bundle.

    Ray is running already when ``train.workers`` is more than 1.

    Args:
        train: How to train.
        model: What to train.
        splits: Prepared data.
        metric: The validation metric that decides which epoch is best.
        folder: Where the user's own code is.
        out: Where the bundle appears.
        transforms: The user's own functions over raw rows, which travel in the bundle.
    """
    check(train, model, folder=folder)
    started = time.monotonic()
    transform = shards.load_transform(splits)
    schema = splits.data_schema
    objective = of(schema, metric, train.loss, mean=transform.target_mean, std=transform.target_std)
    inputs = models.Inputs(numbers=transform.inputs.numbers, categories=transform.inputs.categories)
    contents = Contents(
        data_schema=schema, model=model, inputs=inputs, outputs=objective.outputs, transforms=tuple(transforms)
    )
    task = Task(train, contents, splits, objective, folder)
    network, fitted = yield from (_trees(task) if model.type == "trees" else _network(task, out))
    keep = contents.model_copy(update={"metrics": fitted.metrics})
    models.save(out, keep, transform=transform, network=network, folder=folder)
    return fitted.model_copy(update={"bundle": str(out), "seconds": round(time.monotonic() - started, 3)})


def _trees(task: Task) -> Generator[Epoch, bool | None, tuple["Booster", Fitted]]:
    from raymle.train import trees

    params = parameters(task.contents.model)
    train, validation = shards.load(task.splits, "train"), shards.load(task.splits, "validation")
    booster, best, epochs = yield from trees.epochs(params, train, validation, task.train, objective=task.objective)
    leaves = sum(tree["num_leaves"] for tree in booster.dump_model()["tree_info"])
    return booster, Fitted(
        bundle="", parameters=leaves, epochs=epochs, best_epoch=best.epoch, seconds=0, metrics=best.metrics
    )


def _network(task: Task, out: Path) -> Generator[Epoch, bool | None, tuple["nn.Module", Fitted]]:
    """Train a network; when it diverges, the last good weights are kept beside the bundle's place.

    Raises:
        WorkError: the training had to stop.
    """
    workers = count(task.train)
    best = yield from (_on_ray(task, workers) if workers > 1 else run(task, World(device(task.train.resources.gpu))))
    module = task.module()
    if best.weights:
        module.load_state_dict(best.weights)
    if best.problem:
        raise _stopped(task, best, module, out.with_name("last-good"))
    weights = sum(weight.numel() for weight in module.parameters())
    return module, Fitted(
        bundle="", parameters=weights, epochs=best.epochs, best_epoch=best.epoch, seconds=0,
        metrics=best.metrics, workers=workers,
    )  # fmt: skip


def _on_ray(task: Task, workers: int) -> Generator[Epoch, bool | None, Best]:
    from raymle.train.backends import ddp

    return (yield from ddp.run(task, workers))


def _stopped(task: Task, best: Best, module: "nn.Module", out: Path) -> WorkError:
    """Keep the weights of the best epoch, if there was one, and say where they are."""
    hint = "lower train.optimizer.learning_rate, or look for extreme values with `raymle data show`"
    if not best.weights:
        return WorkError(f"training stopped: {best.problem}", hint=hint)
    transform = shards.load_transform(task.splits)
    keep = task.contents.model_copy(update={"metrics": best.metrics})
    models.save(out, keep, transform=transform, network=module, folder=task.folder)
    return WorkError(f"training stopped: {best.problem}; the weights of epoch {best.epoch} are in {out}", hint=hint)


def count(train: TrainConfig) -> int:
    """Return how many workers train."""
    return train.workers.min if isinstance(train.workers, WorkersRange) else train.workers


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

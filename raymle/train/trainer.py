"""Choose how a model is trained, follow its epochs, and keep the best of it as a bundle."""

import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from raymle import model as models
from raymle.config.model import ModelConfig
from raymle.config.train import TrainConfig
from raymle.data import own, shards
from raymle.errors import WorkError
from raymle.model import Contents
from raymle.model.params import parameters
from raymle.records import Epoch, Fitted, Splits
from raymle.train.backends.inline import World, device
from raymle.train.check import check, count
from raymle.train.loop import Best
from raymle.train.objective import of
from raymle.train.task import Task, run, threads

if TYPE_CHECKING:
    from lightgbm import Booster
    from torch import nn


def fit(
    train: TrainConfig,
    model: ModelConfig,
    splits: Splits,
    *,
    metric: str,
    folder: str,
    out: Path,
    storage: str = "",
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
        storage: Where workers on other machines find the splits.
        transforms: The user's own functions over raw rows, which travel in the bundle.
    """
    check(train, model, folder=folder)
    started = time.monotonic()
    transform = shards.load_transform(splits)
    schema = splits.data_schema
    objective = of(
        schema, metric, train, mean=transform.target_mean, std=transform.target_std,
        counts=_counts(splits), folder=folder,
    )  # fmt: skip
    contents = Contents(
        data_schema=schema,
        model=model,
        inputs=transform.inputs,
        outputs=objective.outputs,
        transforms=tuple(transforms),
    )
    code = own.sources(contents.references, folder)  # as it is now: it may be edited while a model trains
    task = Task(train, contents, splits, objective, folder, storage)
    network, fitted = yield from (_trees(task) if model.type == "trees" else _network(task, out))
    keep = contents.model_copy(update={"metrics": fitted.metrics})
    models.save(out, keep, transform=transform, network=network, code=code)
    return fitted.model_copy(update={"bundle": str(out), "seconds": round(time.monotonic() - started, 3)})


def _counts(splits: Splits) -> "npt.NDArray[np.int64]":
    """Return the train rows of each class; nothing for numbers."""
    classes = len(splits.data_schema.classes)
    if not classes:
        return np.zeros(0, np.int64)
    return np.bincount(shards.load(splits, "train").target, minlength=classes)


def _trees(task: Task) -> Generator[Epoch, bool | None, tuple["Booster", Fitted]]:
    from raymle.train import trees

    params = parameters(task.contents.model)
    train, validation = shards.load(task.splits, "train"), shards.load(task.splits, "validation")
    booster, best, epochs = yield from trees.epochs(params, train, validation, task.train, objective=task.objective)
    leaves = sum(tree["num_leaves"] for tree in booster.dump_model()["tree_info"])
    return booster, Fitted(
        bundle="", parameters=leaves, epochs=epochs, best_epoch=best.epoch, seconds=0, metrics=best.metrics,
        threads=trees.threads(),
    )  # fmt: skip


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
        metrics=best.metrics, workers=workers, threads=threads(task.train), warnings=best.warnings,
    )  # fmt: skip


def _on_ray(task: Task, workers: int) -> Generator[Epoch, bool | None, Best]:
    from raymle.train.backends import group

    if task.train.backend == "horovod":
        from raymle.train.backends import horovod

        return (yield from group.run(task, workers, horovod.join, config=horovod.HorovodConfig()))
    from raymle.train.backends import ddp

    return (yield from group.run(task, workers, ddp.join))


def _stopped(task: Task, best: Best, module: "nn.Module", out: Path) -> WorkError:
    """Keep the weights of the best epoch, if there was one, and say where they are."""
    hint = "lower train.optimizer.learning_rate, or look for extreme values with `raymle data show`"
    if not best.weights:
        return WorkError(f"training stopped: {best.problem}", hint=hint)
    transform = shards.load_transform(task.splits)
    keep = task.contents.model_copy(update={"metrics": best.metrics})
    models.save(out, keep, transform=transform, network=module, code=own.sources(keep.references, task.folder))
    return WorkError(f"training stopped: {best.problem}; the weights of epoch {best.epoch} are in {out}", hint=hint)

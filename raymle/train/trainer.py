"""Choose how a model is trained, follow its epochs, and keep the best of it as a bundle."""

import time
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from raymle.ancestry import Parent
from raymle.config.amount import settled
from raymle.config.model import ModelConfig
from raymle.config.train import TrainConfig
from raymle.errors import DataError, UsageError
from raymle.records import Epoch, Fitted, Splits
from raymle.train import first, forest, threshold
from raymle.train.backends.inline import World, device
from raymle.train.best import Best
from raymle.train.bundler import Bundler
from raymle.train.check import check, count, is_group, keeps
from raymle.train.keeper import Keeper
from raymle.train.task import Task, run, threads

if TYPE_CHECKING:
    from lightgbm import Booster
    from torch import nn

    from raymle.train.trees import Grown


def fit(  # noqa: PLR0913
    train: TrainConfig,
    model: ModelConfig,
    splits: Splits,
    *,
    metric: str,
    folder: str,
    out: Path,
    storage: str = "",
    run: str = "",
    transforms: Sequence[str] = (),
    parent: Parent | None = None,
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
        run: Id of the run whose checkpoints are kept in the storage, and from which it goes on; empty keeps none.
        transforms: The user's own functions over raw rows, which travel in the bundle.
        parent: Where ``train.pretrained.from`` was found; None starts from scratch.

    Raises:
        KeyboardInterrupt: the run was asked to stop; its state is kept.
    """
    check(train, model, folder=folder)
    train = settled(train, model, splits.rows["train"])
    if train.pretrained.source and parent is None:
        raise UsageError("train.pretrained.from is set, and nobody has found it", hint="raymle.parents.find does")
    started = time.monotonic()
    bundler = Bundler.of(train, model, splits, metric=metric, folder=folder, transforms=transforms)
    kept = run if keeps(train, model) else ""
    task = Task(train, bundler.contents, splits, bundler.objective, folder, storage, kept)
    task = first.loaded(task) if model.is_hugging_face else task
    task, pretrained = first.begin(task, parent, bundler.transform) if parent else (task, None)
    network, fitted = yield from (_trees(task) if model.type == "trees" else _network(task, bundler, out))
    bundler.save(out, network, fitted.metrics)
    made = {"bundle": str(out), "seconds": round(time.monotonic() - started, 3), "pretrained": pretrained}
    warnings = (*(pretrained.warnings if pretrained else ()), *fitted.warnings)
    return fitted.model_copy(update={**made, "warnings": warnings})


def _trees(task: Task) -> Generator[Epoch, bool | None, tuple["Booster", Fitted]]:
    from raymle.train import trees

    told: list[str] = []
    if is_group(task.train):
        (booster, best, epochs), told = yield from _trees_on_ray(task)
    else:
        booster, best, epochs = yield from trees.run(task)
    leaves = sum(tree["num_leaves"] for tree in booster.dump_model()["tree_info"])
    return booster, Fitted(
        bundle="", parameters=leaves, epochs=epochs, best_epoch=best.epoch, seconds=0, metrics=best.metrics,
        workers=count(task.train), threads=threads(task.train), warnings=tuple(told),
    )  # fmt: skip


def _trees_on_ray(task: Task) -> "Generator[Epoch, bool | None, tuple[Grown, list[str]]]":
    """Grow trees with several workers.

    Raises:
        DataError: there are too few rows for them.
    """
    from ray.train.lightgbm import LightGBMConfig

    from raymle.train.backends import boosting, group

    workers, rows = count(task.train), task.splits.rows["train"]
    if rows < workers:
        are = "row is" if rows == 1 else "rows are"
        raise DataError(f"{rows} train {are} too few for {workers} workers", hint="lower train.workers")
    return (yield from group.run(task, boosting.epochs, config=LightGBMConfig()))


def _network(
    task: Task, bundler: Bundler, out: Path
) -> Generator[Epoch, bool | None, tuple["nn.Module | Booster", Fitted]]:
    """Train a network; when it diverges, the last good weights are kept beside the bundle's place."""
    best = yield from (_on_ray(task) if is_group(task.train) else _here(task))
    if best.is_stopped:
        raise KeyboardInterrupt
    module = task.module()
    is_given = best.give(module)
    told = threshold.settle(module, task) if is_given and task.objective.anomaly else ()
    fitted = bundler.finish(module, best, task.train, out)
    if not task.objective.anomaly:
        return module, fitted
    weights = fitted.parameters or forest.leaves(module)
    return module, fitted.model_copy(update={"parameters": weights, "warnings": (*fitted.warnings, *told)})


def _here(task: Task) -> Generator[Epoch, bool | None, Best]:
    world = World(device(task.train.resources.gpu))
    if task.contents.model.type == "isolation_forest":
        return forest.run(task, world)
    return run(task, world, Keeper(task.storage, task.run))


def _on_ray(task: Task) -> Generator[Epoch, bool | None, Best]:
    from raymle.train.backends import group

    if task.train.backend == "horovod":
        from raymle.train.backends import horovod

        part, config = partial(group.network, join=horovod.join), horovod.HorovodConfig()
        best, told = yield from group.run(task, part, config=config)
    else:
        from raymle.train.backends import ddp

        join = partial(ddp.join, timeout_s=task.train.step_timeout + 60)  # who is stuck is found before
        best, told = yield from group.run(task, partial(group.network, join=join))
    best.add(told)
    return best

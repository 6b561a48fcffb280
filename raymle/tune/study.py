"""A search from spec to winner: check it, size it, run it, choose."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raymle import loader, tracking
from raymle import train as training
from raymle.config import Spec, TuneConfig
from raymle.config.train import ResourcesConfig
from raymle.errors import ResourceError, SpecError, UsageError
from raymle.measure import metrics
from raymle.records import Epoch, Fitted, Splits, Study
from raymle.store import Store
from raymle.tracking import Run
from raymle.tune import space

if TYPE_CHECKING:
    from raymle.tune.trial import Epochs

ALGORITHMS = ("random", "grid", "tpe")
SCHEDULERS = ("none", "asha")


@dataclass(frozen=True)
class Found:
    """A study's winner: all that the record of its run needs."""

    run_id: str
    spec: Spec
    fitted: Fitted
    history: list[Epoch]
    study: Study


def check(spec: Spec) -> TuneConfig:
    """Find what is wrong with a search before anything is started.

    Raises:
        SpecError: a range is not one, or holds a value that its path can't take.
        UsageError: it asks for what this version does not have.
    """
    config = spec.tune or TuneConfig()
    tree = space.parse(config.space)
    _check_ready(spec, config)
    for path, value in space.probes(tree):
        try:
            varied = loader.override(spec, {path: value})
            training.check(varied.train, varied.model, folder=varied.folder)
        except (SpecError, UsageError) as error:
            raise type(error)(f"tune.space: {path} can't be {value!r}: {error}", hint=error.hint) from None
    if config.algorithm == "grid":
        space.grid(tree)
    return config


def search(
    config: TuneConfig,
    spec: Spec,
    splits: Splits,
    *,
    metric: str,
    store: Store,
    run: Run,
    train: "Callable[..., Epochs] | None" = None,
) -> Found:
    """Run a study on the Ray that is connected; nothing is trained twice.

    Args:
        config: The search, as ``check`` returned it.
        spec: The experiment that the trials vary.
        splits: Prepared once, used by every trial.
        metric: Decides who is best, and whom the scheduler stops.
        store: The home of the bundles and of the study.
        run: The study's own run; each trial's is its child.
        train: What a trial does; None trains as ``train.fit``.
    """
    import ray

    from raymle.tune import conduct
    from raymle.tune.book import Book
    from raymle.tune.trial import Task

    up = metrics.higher_is_better(metric)
    tree = space.parse(config.space)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    at_once = slots(nodes, spec.train.resources)
    config = config if config.algorithm != "grid" else _whole_grid(config, tree)
    book = Book(
        study=conduct.optimiser(config, store.root / "studies" / f"{run.id}.log", run.id, tree, up=up),
        space=tree,
        open_run=lambda number: _child(spec, store, run, number),
        budget=config.budget,
        show=training.say,
    )
    conduct.run(
        book,
        Task(spec=spec, splits=splits, metric=metric, is_maximised=up, fit=train or training.fit),
        config,
        folder=store.root / "studies" / f"{run.id}.tune",
        at_once=min(at_once, config.concurrency or at_once),
        most_epochs=_most_epochs(spec, tree),
    )
    return _winner(book, spec, run)


def slots(nodes: Iterable[Mapping[str, float]], resources: ResourcesConfig) -> int:
    """Return how many trials fit at one time; a trial fits on one node or not at all.

    Raises:
        ResourceError: none does.
    """
    have = [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes]
    fit_here = [
        math.floor(min(cpu / resources.cpu, gpu / resources.gpu if resources.gpu else math.inf) + 1e-9)
        for cpu, gpu in have
    ]
    if sum(fit_here) < 1:
        nodes_say = " and ".join(f"{cpu:g} CPU, {gpu:g} GPU" for cpu, gpu in have) or "no node"
        raise ResourceError(
            f"a trial needs {resources.cpu:g} CPU and {resources.gpu:g} GPU on one node; "
            f"the cluster has {nodes_say}: no trial fits",
            hint="lower train.resources, or use a bigger cluster",
        )
    return sum(fit_here)


def _check_ready(spec: Spec, config: TuneConfig) -> None:
    later = {
        f"tune.algorithm {config.algorithm}": config.algorithm not in ALGORITHMS,
        f"tune.scheduler {config.scheduler}": config.scheduler not in SCHEDULERS,
        "tune.budget.dollars": config.budget.dollars is not None,
        "evaluate.limits on a study's winner": bool(spec.evaluate.limits),
        "a trial of more than one worker": spec.train.workers != 1,
    }
    for what, is_asked in later.items():
        if is_asked:
            raise UsageError(
                f"{what} comes later",
                hint=f"algorithms: {', '.join(ALGORITHMS)}; schedulers: {', '.join(SCHEDULERS)}; one worker",
            )


def _whole_grid(config: TuneConfig, tree: Mapping[str, space.Node]) -> TuneConfig:
    return config.model_copy(update={"trials": min(config.trials, len(space.grid(tree)))})


def _most_epochs(spec: Spec, tree: Mapping[str, space.Node]) -> int:
    return max(
        [spec.train.epochs] + [loader.override(spec, {path: value}).train.epochs for path, value in space.probes(tree)]
    )


def _child(spec: Spec, store: Store, study: Run, number: int) -> Run:
    return tracking.start(
        spec.tracking,
        store,
        experiment=spec.tracking.experiment or spec.name,
        name=f"{spec.name} {number}",
        kind="trial",
        parent=study.id,
    )


def _winner(book: Any, spec: Spec, run: Run) -> Found:
    best = book.best()
    study = book.record(run.id)
    run.params({"trials": study.trials, "best_run": best.run.id})
    run.metrics({"finished": study.finished, "failed": study.failed, "stopped_early": study.stopped_early})
    return Found(
        run_id=best.run.id,
        spec=loader.override(spec, best.values),
        fitted=best.fitted,
        history=best.history,
        study=study,
    )

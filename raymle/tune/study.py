"""A search from spec to candidates: size it, run it, put them in order."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from raymle import loader
from raymle import train as training
from raymle.config import Spec, TuneConfig
from raymle.measure import prices
from raymle.records import Epoch, Fitted, Splits, Study
from raymle.store import Store
from raymle.tracking import Run
from raymle.tune import capacity, space
from raymle.tune.attempts import Attempt
from raymle.tune.check import most_epochs, objectives, varied

if TYPE_CHECKING:
    from raymle.tune.work import Work


@final
@dataclass(frozen=True)
class Candidate:
    """A trial that left a model: all that the record of its run needs."""

    run_id: str
    spec: Spec
    fitted: Fitted
    history: list[Epoch]
    facts: Mapping[str, float]
    """What is known without measuring: metrics of the best epoch, parameters, size, seconds, dollars, epochs."""


@final
@dataclass(frozen=True)
class Searched:
    """What a search brought."""

    study: Study
    candidates: list[Candidate]
    """Best first; never empty."""


def search(
    config: TuneConfig,
    spec: Spec,
    splits: Splits,
    *,
    metric: str,
    store: Store,
    run: Run,
    train: Any = None,
) -> Searched:
    """Run a study on the Ray that is connected, or go on with it; nothing is trained twice.

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

    from raymle.tune import alone, conduct, report, setting, storage
    from raymle.tune.book import Book
    from raymle.tune.display import display
    from raymle.tune.explore import explore
    from raymle.tune.schedulers import PAUSING

    tree, goals = space.parse(config.space), objectives(spec, metric)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    workers = training.count(spec.train)
    fit_at_once = capacity.slots(nodes, spec.train.resources, workers=workers)
    at_once = min(fit_at_once, config.concurrency or fit_at_once)
    resources = spec.train.resources
    if config.scheduler in PAUSING and at_once < fit_at_once:
        resources = capacity.wide(nodes, resources, at_once)
    per_hour = len(nodes) * (prices.per_hour(None, spec.cluster.dollars_per_hour) or 0.0)
    points = space.grid(tree)[: config.trials] if config.algorithm == "grid" else []
    config = config.model_copy(update={"trials": len(points) or config.trials})
    group = 1 if train else capacity.group_size(config, at_once)
    work = _work(config, spec, splits, goals, train=train)
    folder = store.root / storage.folder_of(run.id)
    studies = storage.open_study(store, run.id, space=config.space, nodes=tree, objectives=goals)
    for point in points:
        studies[-1].enqueue_trial(point, skip_if_exists=True)
    given = setting.of(
        spec, config, tree, store=store, study=run, objectives=goals, at_once=at_once,
        together=group * at_once if group > 1 else 1, group=group, per_hour=per_hour, share=1 / fit_at_once,
    )  # fmt: skip
    book = Book(studies, given)
    if book.resumed:
        training.say(f"study {run.id} goes on: {len(book.ended)} of {config.trials} trials are done")
    with _resumable(run.id), display([attempt.number + 1 for attempt in book.ended]) as book.show:
        conduct.run(
            book,
            work,
            conduct.Place(folder / "tune", capacity.needs(resources, workers=workers), at_once),
            halving=_halving(config, book.ended, metric, up=goals[metric], most_epochs=work.most_epochs),
            finish=lambda attempt: alone.finished(work, attempt.run_id, work.varied(attempt.values)),
            explore=lambda values: explore(values, tree, seed=config.seed),
        )
    if work.pauses:
        for attempt in book.ended:
            training.forget(store, attempt.run_id)
    report.write(folder, studies[-1], book.progress(), name=spec.name)
    return Searched(book.record(run.id), [_candidate(attempt, spec) for attempt in book.candidates()])


@contextmanager
def _resumable(study_id: str) -> Iterator[None]:
    """Say how a study that is interrupted in the block goes on."""
    try:
        yield
    except KeyboardInterrupt:
        training.say(f"stopped; the same command with --resume {study_id} goes on with its trials")
        raise


def _work(config: TuneConfig, spec: Spec, splits: Splits, goals: Mapping[str, bool], *, train: Any) -> "Work":
    from raymle.tune.schedulers import PAUSING
    from raymle.tune.work import Work

    metric = next(iter(goals))
    most = max(most_epochs(each) for each in [spec, *varied(spec, space.parse(config.space))])
    return Work(
        spec=spec, splits=splits, metric=metric, is_maximised=goals[metric], fit=train or training.fit,
        most_epochs=most, pauses=config.scheduler in PAUSING and most > 1,
    )  # fmt: skip


def _halving(config: TuneConfig, attempts: Iterable[Attempt], metric: str, *, up: bool, most_epochs: int) -> Any:
    """Make ASHA's rule, and tell it what earlier sessions reported; None for other schedulers."""
    from raymle.tune.halving import Halving

    if config.scheduler != "asha" or most_epochs < 2:
        return None
    halving = Halving("max" if up else "min", most_epochs)
    for attempt in attempts:
        for epoch, score in attempt.scores(metric, is_maximised=up):
            halving.hear(attempt.run_id, epoch, score)
    return halving


def _candidate(attempt: Attempt, spec: Spec) -> Candidate:
    assert attempt.fitted is not None
    facts = {**attempt.fitted.metrics, **attempt.facts()}
    return Candidate(attempt.run_id, loader.override(spec, attempt.values), attempt.fitted, attempt.history, facts)

"""A search from spec to candidates: size it, run it, put them in order."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from raymle import train as training
from raymle.ancestry import Parent
from raymle.config import Spec, TuneConfig
from raymle.measure import prices
from raymle.records import Epoch, Fitted, Splits, Study
from raymle.store import Store
from raymle.tracking import Run
from raymle.tune import capacity, space
from raymle.tune.attempts import Attempt, ranked
from raymle.tune.check import most_epochs, objectives, trial_spec, varied
from raymle.tune.progress import Progress
from raymle.tune.samplers import PICKLING
from raymle.tune.shapes import shaper

if TYPE_CHECKING:
    from raymle.tune.book import Book
    from raymle.tune.halving import Halving
    from raymle.tune.work import Work

TUNE = "tune"
"""Ray Tune's own files in a study's folder."""


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
    progress: Progress
    """All trials, as a person looks at them."""


def search(
    config: TuneConfig,
    spec: Spec,
    splits: Splits,
    *,
    metric: str,
    store: Store,
    run: Run,
    train: Any = None,
    parent: Parent | None = None,
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
        parent: Where ``train.pretrained.from`` was found.
    """
    work, book = _open(config, spec, splits, metric=metric, store=store, run=run, train=train)
    work = replace(work, parent=parent)
    if book.resumed:
        training.say(f"study {run.id} goes on: {len(book.ended)} of {book.setting.config.trials} trials are done")
    _conduct(work, book, store, run.id)
    progress = book.progress()
    if not any(attempt.fitted for attempt in book.ended):
        write_report(store, run.id, progress, name=spec.name)  # it says why
    return Searched(
        book.record(run.id), [_candidate(each, work.varied(each.values)) for each in book.candidates()], progress
    )


def _open(
    config: TuneConfig, spec: Spec, splits: Splits, *, metric: str, store: Store, run: Run, train: Any
) -> "tuple[Work, Book]":
    """Open the storage of a study, and size it by the Ray that is connected."""
    import ray

    from raymle.tune import setting, storage
    from raymle.tune.book import Book

    tree, goals = space.parse(config.space), objectives(spec, metric)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    room = capacity.room(config, spec.train, nodes, stacks=train is None)
    studies = storage.open_study(
        store, run.id, space=config.space, nodes=tree, objectives=goals, afresh=config.algorithm in PICKLING
    )
    if config.algorithm == "grid":
        config = config.model_copy(update={"trials": storage.queue(studies, space.grid(tree), most=config.trials)})
    given = setting.of(
        spec, config, tree, rows=splits.rows["train"], store=store, study=run, objectives=goals, room=room,
        shape=shaper(spec, splits, group=room.group),
        per_hour=len(nodes) * (prices.per_hour(spec.cluster.node, spec.cluster.dollars_per_hour) or 0.0),
    )  # fmt: skip
    return _work(config, spec, splits, goals, train=train), Book(studies, given)


def _conduct(work: "Work", book: "Book", store: Store, study_id: str) -> None:
    """Run the trials to their ends, and leave nothing behind that is not needed any more."""
    from raymle.tune import alone, conduct, storage
    from raymle.tune.display import display

    folder = storage.folder_of(study_id)
    try:
        with _resumable(study_id), display([attempt.number + 1 for attempt in book.ended]) as book.show:
            conduct.run(
                book,
                work,
                (f"{store.uri}/{folder}", TUNE),
                halving=_halving(book, most_epochs=work.most_epochs),
                finish=lambda attempt: alone.finished(work, attempt.run_id, work.varied(attempt.values)),
            )
    finally:
        store.remove(f"{folder}/{TUNE}")
    if work.pauses:
        for attempt in book.ended:
            training.forget(store, attempt.run_id)


def write_report(store: Store, study_id: str, progress: Progress, *, name: str) -> None:
    """Write the page of a study into its folder; nothing of Ray is needed any more."""
    from raymle.tune import report, storage

    report.write(store.root / storage.folder_of(study_id), storage.load(store, study_id)[-1], progress, name=name)
    storage.publish(store, study_id)


def warm() -> None:
    """Import what a study needs, while the Ray that it runs on comes up."""
    from raymle.tune import alone, conduct, report  # noqa: F401


def recalled(store: Store, study_id: str, spec: Spec, splits: Splits) -> list[Candidate]:
    """Return the trials of a study that left a model, best first; no Ray is needed, and the study may go on.

    Args:
        store: The storage.
        study_id: The study's run.
        spec: What its trials vary.
        splits: What they trained on.
    """
    from raymle.tune import setting, storage

    studies = storage.load(store, study_id)
    found = []
    for trial in storage.trials(studies):
        ended = setting.recall(store, trial.user_attrs[storage.RUN])
        if ended and ended.fitted:
            attempt = Attempt(trial.user_attrs[storage.RUN], trial.number, {})
            attempt.restore(ended)
            found.append(attempt)
    up = bool(found) and studies[-1].directions[0].name == "MAXIMIZE"
    rows = splits.rows["train"]
    return [_candidate(each, trial_spec(spec, each.values, rows)) for each in ranked(found, is_maximised=up)]


def trial_runs(store: Store, study_id: str) -> list[str]:
    """Return the runs of all trials of a study."""
    from raymle.tune import storage

    return [trial.user_attrs[storage.RUN] for trial in storage.trials(storage.load(store, study_id))]


@contextmanager
def _resumable(study_id: str) -> Iterator[None]:
    """Say how a study that is interrupted in the block goes on."""
    try:
        yield
    except KeyboardInterrupt:
        training.say(f"stopped; the same command with --resume {study_id} goes on with its trials")
        raise


def _work(config: TuneConfig, spec: Spec, splits: Splits, goals: Mapping[str, bool], *, train: Any) -> "Work":
    from raymle.tune.work import Work

    metric = next(iter(goals))
    most = max(most_epochs(each, splits.rows["train"]) for each in [spec, *varied(spec, space.parse(config.space))])
    return Work(
        spec=spec, splits=splits, metric=metric, is_maximised=goals[metric], fit=train or training.fit,
        most_epochs=most, pauses=config.scheduler in capacity.PAUSING and most > 1,
    )  # fmt: skip


def _halving(book: "Book", *, most_epochs: int) -> "Halving | None":
    """Make ASHA's rule, and tell it what earlier sessions reported; None for other schedulers."""
    from raymle.tune.halving import Halving

    if book.setting.config.scheduler != "asha" or most_epochs < 2:
        return None
    halving = Halving("max" if book.is_maximised else "min", most_epochs)
    for attempt in book.ended:
        for epoch, score in attempt.scores(book.metric, is_maximised=book.is_maximised):
            halving.hear(attempt.run_id, epoch, score)
    return halving


def _candidate(attempt: Attempt, spec: Spec) -> Candidate:
    assert attempt.fitted is not None
    facts = {**attempt.fitted.metrics, **attempt.facts()}
    return Candidate(attempt.run_id, spec, attempt.fitted, attempt.history, facts)

"""From records to a table: the models measured one at a time in one session on this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from raymle import evaluate, model, outcome, promote, references
from raymle.comparing.facts import dollars, names
from raymle.config import Spec
from raymle.errors import ConflictError, DataError, UsageError
from raymle.evaluate import Comparison, Row, tables, tradeoff
from raymle.measure.resources import Resources
from raymle.model import probe
from raymle.records import Plan, Trained
from raymle.store import Store, open_store
from raymle.tracking import code, new_id, shelf, studies

SECONDS_EACH = 4.0
"""About what it takes to measure one model: its process has to start."""
FINALISTS = 5
"""Trials of a study that are compared."""
LEAST_SHARE = 0.9
"""Share of undisturbed calls below which a reader is told."""


class Run(Protocol):
    """What a run of the Python API is known by."""

    storage: str

    @property
    def id(self) -> str:
        """The run's id."""


def compare(runs: Sequence[str | Run], *, storage: str | None = None, output: str | Path | None = None) -> Comparison:
    """Put runs side by side: quality, latency, memory, size, training time and cost, measured now and here.

    Args:
        runs: Ids, starts of them, or runs.
        storage: Where the runs are; None takes that of the first run that is not just an id, else ``runs``.
        output: Folder for the page and the picture; None writes none.

    Raises:
        ConflictError: the runs' quality cannot be compared.
    """
    runs = [runs] if isinstance(runs, str) else runs
    homes = [run.storage for run in runs if not isinstance(run, str)]
    store = open_store(storage or next(iter(homes), "runs"))
    found = of_records(store, records(store, [run if isinstance(run, str) else run.id for run in runs]))
    if output is not None:
        write(Path(output), found)
    return found


def records(store: Store, refs: Sequence[str], *, only_look: bool = False) -> list[Trained]:
    """Return the records of runs, each once; a study stands for its best trials, which become runs by that.

    Args:
        store: Where they are.
        refs: Ids, starts of them, or studies.
        only_look: Whether nothing is made: a study then stands for its winner.

    Raises:
        UsageError: there is none, or a run has no model.
    """
    if not refs:
        raise UsageError("there are no runs to compare", hint="raymle runs ls shows what is there")
    meant = [record for ref in refs for record in _meant(store, ref, only_look=only_look)]
    found = [*{record.run_id: record for record in meant}.values()]
    for record in found:
        if record.status != "finished":
            raise UsageError(f"run {record.run_id} {record.status}: it has no model", hint="leave it out")
    return found


def _meant(store: Store, ref: str, *, only_look: bool) -> list[Trained]:
    study_id = studies.named(store, ref)
    if study_id and not only_look:
        return outcome.finalists(store, study_id, FINALISTS)
    return [shelf.load(store, references.run_id(store, ref))]


def of_records(store: Store, found: Sequence[Trained]) -> Comparison:
    """Measure the models of these records one after another, and put them side by side.

    Raises:
        ConflictError: their quality cannot be compared.
        DataError: one has no quality.
    """
    check_alike(found)
    specs = [shelf.load_spec(store, record.run_id) for record in found]
    bundles = [promote.bundle(store, record) for record in found]
    measured = [probe.measure(bundle) for bundle in bundles]
    rows = [
        row(record, spec, each, name=name)
        for record, spec, each, name in zip(found, specs, measured, names(specs), strict=True)
    ]
    notes = [note for each in zip(rows, bundles, measured, strict=True) for note in _notes(*each)]
    return evaluate.compared(machine(), found[0].metric, rows, notes=notes)


def check_alike(found: Sequence[Trained]) -> None:
    """Refuse runs whose quality cannot be compared.

    Raises:
        ConflictError: other data, another split, or another deciding metric.
        DataError: a run was not measured by its metric.
    """
    first = found[0]
    for record in found:
        if record.splits_id != first.splits_id:
            raise ConflictError(
                f"runs {first.run_id} and {record.run_id} were judged on other rows: data, target or split differ",
                hint=f"raymle runs diff {first.run_id} {record.run_id}",
            )
        if record.metric != first.metric:
            raise ConflictError(
                f"{first.metric} decides in run {first.run_id}, and {record.metric} in run {record.run_id}",
                hint="train both with one evaluate.metric",
            )
        if record.metric not in record.metrics.get("validation", {}):
            raise DataError(f"run {record.run_id} has no {record.metric} on its validation rows")


def row(record: Trained, spec: Spec, measured: Resources, *, name: str = "") -> Row:
    """Put together what is known of one model."""
    scores, seconds = record.metrics["validation"], record.seconds["train"]
    return Row(
        run_id=record.run_id, model=record.model, quality=scores[record.metric],
        interval=record.intervals.get(record.metric), parameters=record.parameters, train_seconds=seconds,
        dollars=dollars(seconds, spec), epochs=record.best_epoch, name=name or record.model, metrics=scores,
        **measured.model_dump(exclude=probe.ABOUT),
    )  # fmt: skip


def machine() -> str:
    """Name this machine: processor, cores, and the threads that are used."""
    found, threads = code.machine(), probe.THREADS
    cores = found["cpus_usable"] or found["cpus"]
    return f"{found['processor'] or found['architecture']}, {cores} cores, {threads} thread{'s' * (threads != 1)}"


def plan_runs(store: Store, refs: Sequence[str]) -> Plan:
    """Say what measuring these runs would take; nothing is started or made."""
    found = records(store, refs, only_look=True)
    check_alike(found)
    named = [studies.named(store, ref) for ref in refs]
    of_studies = [f"measure the {FINALISTS} best trials of study {study_id}" for study_id in named if study_id]
    single = [record for record in found if not (record.study and record.study.id in named)]
    return Plan(
        verb="compare", what=f"models by {found[0].metric}", where=machine(),
        why="latency and memory are measured here, one model at a time, each in a process of its own",
        steps=(*of_studies, *(f"measure {record.model}, run {record.run_id}" for record in single)),
        seconds=SECONDS_EACH * (len(single) + FINALISTS * len(of_studies)),
    )  # fmt: skip


def write(folder: Path, comparison: Comparison) -> Path:
    """Write the page and the picture and return the page."""
    return tradeoff.write(folder, comparison, title=f"{tables.models(len(comparison.rows))} by {comparison.metric}")


def publish(store: Store, comparison: Comparison) -> Path:
    """Write the page and the picture into the storage and return the page."""
    folder = f"compare/{new_id()}"
    page = write(store.root / folder, comparison)
    store.publish(folder)
    return page


def _notes(row: Row, bundle: Path, measured: Resources) -> list[str]:
    """Say what a reader of a row's numbers should know."""
    told = []
    if measured.share < LEAST_SHARE:
        told.append(
            f"others were at work: {1 - measured.share:.0%} of the calls of {row.name} had to wait for a processor"
        )
    if model.read_contents(bundle).transforms:
        told.append(f"the latency of {row.name} is without its own data.transforms")
    return told

"""From spec to record: the picture of the project.

data.prepare  ->  train.fit or tune.search  ->  evaluate.validation  ->  a bundle, a record and a tracked run
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from raymle import data, evaluate, runtime, tracking, tune
from raymle import train as training
from raymle.config import Spec, WorkersRange
from raymle.errors import ConflictError, RaymleError, ResourceError, UsageError
from raymle.measure import metrics
from raymle.records import Epoch, Fitted, Plan, Splits, Status, Study, Trained
from raymle.runtime import Execution
from raymle.store import Store, lock, open_store
from raymle.tracking import shelf

Kind = Literal["run", "study"]
ROWS_PER_SECOND = 150_000
"""A small network on two cores: for the plan's guess only."""


@dataclass
class Clock:
    """Seconds since the start and of each lap; monotonic, so a clock change cannot make one negative."""

    started: float = field(default_factory=time.monotonic)
    laps: dict[str, float] = field(default_factory=dict)

    def lap(self, name: str) -> None:
        """Give the time since the last lap a name."""
        self.laps[name] = round(time.monotonic() - self.started - sum(self.laps.values()), 3)

    def seconds(self) -> dict[str, float]:
        """Return every lap and the total."""
        return {**self.laps, "total": round(time.monotonic() - self.started, 3)}


def train(spec: Spec, *, source: Any = None, key: str | None = None) -> Trained:
    """Take one spec from raw data to a trained, evaluated and recorded model.

    Args:
        spec: The experiment.
        source: A table or data frame that takes the place of ``data.source``.
        key: Idempotence: a second call with the same key returns the first call's record.
    """
    clock = Clock()
    check(spec)
    execution = place(spec, locate(spec, source), needs_ray=why_ray(spec))
    with untouched(spec.storage) as store, once(store, key, spec, "run") as earlier:
        if earlier:
            return earlier
        with runtime.starting(execution) as wait:
            splits = prepare(spec, store, source, execution, wait)
            clock.lap("prepare")
            evaluate.check(spec.evaluate, spec.promote, splits.data_schema, folder=spec.folder)
            with recorded(spec, store, splits, kind="run", key=key, execution=execution, clock=clock) as run:
                epochs = fit(spec, store, splits, run.id)
                wait()
                fitted, history = follow(epochs, run, spec.train.epochs)
                store.publish(f"runs/{run.id}/bundle")
                clock.lap("train")
                return conclude(spec, store, splits, run, (fitted, history), execution=execution, clock=clock)


def search(spec: Spec, *, source: Any = None, key: str | None = None) -> Trained:
    """Run a study of trials; its best is a record like any other, with the study in it."""
    clock = Clock()
    check(spec)
    config = tune.check(spec)
    execution = place(spec, locate(spec, source), needs_ray="a search runs on Ray Tune")
    with untouched(spec.storage) as store, once(store, key, spec, "study") as earlier:
        if earlier:
            return earlier
        with runtime.starting(execution) as wait:
            splits = prepare(spec, store, source, execution, wait)
            clock.lap("prepare")
            evaluate.check(spec.evaluate, spec.promote, splits.data_schema, folder=spec.folder)
            with recorded(spec, store, splits, kind="study", key=key, execution=execution, clock=clock) as run:
                wait()
                found = tune.search(config, spec, splits, metric=decisive(spec, splits), store=store, run=run)
                clock.lap("train")
                with tracking.reopen(spec.tracking, store, found.run_id) as best:
                    return conclude(
                        found.spec, store, splits, best, (found.fitted, found.history),
                        execution=execution, clock=clock, study=found.study,
                    )  # fmt: skip


@contextmanager
def untouched(storage: str) -> Iterator[Store]:
    """Open a storage for the block; one that was not there before goes again when the block fails at its data."""
    was_there = "://" in storage or Path(storage).exists()
    store = open_store(storage)
    try:
        yield store
    except RaymleError:
        if not was_there and not store.names("runs"):
            shutil.rmtree(store.root, ignore_errors=True)
        raise


def check(spec: Spec) -> None:
    """Find what cannot work, or is not there yet, before anything is read or started."""
    training.check(spec.train, spec.model, folder=spec.folder)
    later = {
        "evaluate.limits": bool(spec.evaluate.limits),
        "cluster.provider": spec.cluster.provider is not None,
        "cluster.max_dollars_per_hour": spec.cluster.max_dollars_per_hour is not None,
    }
    for name, is_asked in later.items():
        if is_asked:
            raise UsageError(f"{name} comes later", hint=f"leave {name} out")


def why_ray(spec: Spec) -> str:
    """Say why training cannot stay in this process; empty when it can."""
    workers = spec.train.workers
    most = workers.max if isinstance(workers, WorkersRange) else workers
    return f"train.workers is {most}" if most > 1 else ""


def locate(spec: Spec, source: Any = None) -> data.Source:
    """Find the source, so that a missing file is the first thing that is told."""
    words = data.words(spec.data, by=spec.split.by)
    return data.resolve(source if source is not None else spec.data.source, folder=spec.folder, words=words)


def place(spec: Spec, found: data.Source, *, needs_ray: str = "") -> Execution:
    """Decide where the work runs."""
    remote = any("://" in name for name in found.files)
    execution = runtime.decide(spec.cluster, needs_ray=needs_ray, decoded_bytes=found.bytes, remote=remote)
    wanted, have = training.count(spec.train) * spec.train.resources.cpu, os.cpu_count() or 1
    if execution.address == "local" and wanted > have:
        raise ResourceError(
            f"{training.count(spec.train)} workers x {spec.train.resources.cpu:g} CPU are more than the {have} here",
            hint="lower train.workers, or name a bigger cluster by cluster.address",
        )
    return execution


def prepare(
    spec: Spec, store: Store, source: Any, execution: Execution, wait: Callable[[], None] = lambda: None
) -> Splits:
    """Prepare the splits; a small source is prepared here, while the Ray that trains comes up."""
    on_ray = execution.on_ray and execution.large
    if on_ray:
        wait()
    asked = spec.evaluate.positive
    positive = None if asked is None else str(asked).lower() if isinstance(asked, bool) else str(asked)
    return data.prepare(
        spec.data, spec.split, store, folder=spec.folder, source=source, positive=positive,
        on_ray=on_ray,
    )  # fmt: skip


def decisive(spec: Spec, splits: Splits) -> str:
    """Name the metric that decides."""
    schema = splits.data_schema
    return metrics.decisive(spec.evaluate.metric, schema.task, len(schema.classes))


def fit(spec: Spec, store: Store, splits: Splits, run_id: str) -> Generator[Epoch, None, Fitted]:
    """Train one model, its bundle in the run's folder."""
    return training.fit(
        spec.train, spec.model, splits,
        metric=decisive(spec, splits), folder=spec.folder, out=store.root / "runs" / run_id / "bundle",
        transforms=spec.data.transforms,
    )  # fmt: skip


def follow(epochs: Generator[Epoch, None, Fitted], run: tracking.Run, most: int) -> tuple[Fitted, list[Epoch]]:
    """Drive the training, showing and recording every epoch."""
    history: list[Epoch] = []
    with training.display(most) as show:
        while True:
            try:
                epoch = next(epochs)
            except StopIteration as end:
                return end.value, history
            history.append(epoch)
            run.metrics(epoch.metrics, step=epoch.epoch)
            show(epoch)


@contextmanager
def once(store: Store, key: str | None, spec: Spec, kind: Kind) -> Iterator[Trained | None]:
    """Yield what an earlier call with the same key made, and let only one process at a time make it.

    Raises:
        ConflictError: another experiment or verb has used the key.
    """
    if key is None:
        yield None
        return
    with lock(store, f"key-{hashlib.sha256(key.encode()).hexdigest()[:16]}"):
        made = shelf.by_key(store, key)
        earlier = shelf.load(store, made) if made else None
        if earlier and (earlier.name, earlier.study is not None) != (spec.name, kind == "study"):
            what = f"a {'study' if earlier.study else 'run'} of {earlier.name!r}"
            raise ConflictError(f"key {key!r} belongs to {what}, run {made}", hint="use another key for another job")
        yield earlier


@contextmanager
def recorded(
    spec: Spec,
    store: Store,
    splits: Splits,
    *,
    kind: Kind,
    key: str | None,
    execution: Execution,
    clock: Clock,
) -> Iterator[tracking.Run]:
    """Open a tracked run for the block; whatever ends the block ends the run with the right status."""
    run = tracking.start(
        spec.tracking, store, experiment=spec.tracking.experiment or spec.name, name=spec.name, kind=kind
    )
    shelf.hold(store, run.id, splits.id)
    with tracking.tee_stdout(store.root / "runs" / run.id / "stdout.log"):
        try:
            tracking.describe_inputs(run, spec, splits)
            yield run
            if key:
                shelf.claim_key(store, key, run.id)
        except BaseException as error:
            status: Status = "killed" if isinstance(error, KeyboardInterrupt) else "failed"
            shelf.save_failed(
                store, run.id, spec, splits, status=status, reason=str(error),
                execution=execution.kind, seconds=clock.seconds(),
            )  # fmt: skip
            run.tags({"raymle.reason": str(error)[:4000]})
            run.finish(status)
            raise
    run.finish("finished")


def conclude(
    spec: Spec,
    store: Store,
    splits: Splits,
    run: tracking.Run,
    outcome: tuple[Fitted, list[Epoch]],
    *,
    execution: Execution,
    clock: Clock,
    study: Study | None = None,
) -> Trained:
    """Evaluate the bundle on validation, write the report, and keep everything with the run."""
    fitted, history = outcome
    out = store.root / "runs" / run.id
    bundle = store.fetch(f"runs/{run.id}/bundle")
    evaluated = evaluate.validation(
        splits, bundle, config=spec.evaluate, out=out, history=history, folder=spec.folder,
        spec=spec.model_dump(mode="json", by_alias=True),
    )  # fmt: skip
    clock.lap("evaluate")
    trained = Trained(
        run_id=run.id, name=spec.name, status="finished", task=splits.data_schema.task,
        metric=decisive(spec, splits), metrics={"validation": evaluated.metrics},
        intervals=evaluated.intervals, bundle=str(bundle), splits_id=splits.id, rows=dict(splits.rows),
        seconds=clock.seconds(), execution=execution.kind, model=spec.model.type,
        parameters=fitted.parameters, workers=fitted.workers, threads=fitted.threads, epochs=fitted.epochs,
        best_epoch=fitted.best_epoch, warnings=splits.warnings, study=study,
    )  # fmt: skip
    shelf.save(store, trained, spec)
    tracking.record_result(run, trained, spec, splits, out, receipt=evaluate.receipt(store, splits, name=spec.name))
    return trained


def plan(spec: Spec, verb: str, *, source: Any = None) -> Plan:
    """Check everything and say what a verb would do; nothing is started, nothing is written."""
    check(spec)
    trials = tune.check(spec).trials if verb == "tune" else 1
    needs_ray = "a search runs on Ray Tune" if verb == "tune" else why_ray(spec)
    found = locate(spec, source)
    execution = place(spec, found, needs_ray=needs_ray)
    schema = data.infer(found, spec.data, by=spec.split.by)
    evaluate.check(spec.evaluate, spec.promote, schema, folder=spec.folder)
    rows = found.bytes // max(1, 8 * len(schema.columns))
    seconds = 6 + (12 if execution.on_ray else 0) + trials * spec.train.epochs * rows / ROWS_PER_SECOND
    what = f"{spec.model.type} predicts {schema.target} ({schema.task}) from {len(schema.features)} columns"
    steps = (
        f"prepare {found.name}, about {found.bytes / 2**20:.1f} MB once decoded",
        f"split by {spec.split.method}, the test rows sealed",
        f"{trials} trials of at most {spec.train.epochs} epochs" if verb == "tune"
        else f"train at most {spec.train.epochs} epochs with {spec.train.workers} worker(s)",
        f"evaluate on validation, and record in {spec.storage}",
    )  # fmt: skip
    return Plan(
        verb=verb, what=what, where=execution.kind if not execution.on_ray else f"Ray at {execution.address}",
        why=execution.why, steps=steps, seconds=round(seconds, 1),
    )  # fmt: skip

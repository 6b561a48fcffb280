"""A run made again, stage by stage, from its raw data and its recorded code; nothing prepared or trained is used again.

Each stage gives a check, and what the next one needs, or None: then what follows is not run.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from raymle import data, parents, pipeline, planning, runtime
from raymle import train as training
from raymle.config import Spec
from raymle.config.data import TextConfig
from raymle.config.model import HUGGING_FACE, ModelConfig
from raymle.data import own, shards
from raymle.data.places import absolute
from raymle.errors import ArtifactError
from raymle.records import Check, Plan, Provenance, Reproduced, Splits, Trained
from raymle.reproduce import checks, outcome
from raymle.reproduce.scratch import Scratch, scratch, tried
from raymle.runtime import Execution
from raymle.store import Store
from raymle.tracking import code, origin, shelf

UNFINISHED = {"failed": "it failed", "killed": "it was killed", "running": "it is still running"}


@dataclass(frozen=True)
class Past:
    """A run as it was recorded."""

    store: Store
    trained: Trained
    spec: Spec
    provenance: Provenance

    @property
    def is_table(self) -> bool:
        """Whether its source was a table in memory."""
        return data.is_table(self.spec.data.source)


def recorded(store: Store, trained: Trained) -> Past:
    """Return all that is known of a run.

    Raises:
        ArtifactError: it has no model, or the storage does not know what it was made of.
    """
    if trained.status != "finished":
        why = shelf.reason(store, trained.run_id)
        told = UNFINISHED[trained.status] + (f": {why}" if why else "")
        raise ArtifactError(f"run {trained.run_id} has no model to make again: {told}", hint="raymle runs ls")
    return Past(store, trained, shelf.load_spec(store, trained.run_id), origin.load(store, trained.run_id))


def plan(store: Store, trained: Trained) -> Plan:
    """Say what would be made again, where, and about how long it takes; nothing is started or written."""
    past = recorded(store, trained)
    found = None if past.is_table else planning.locate(past.spec)
    execution = place(past, found)
    what = f"run {trained.run_id}, {trained.model} predicts {past.spec.data.target}"
    steps = (
        f"read {found.name if found else 'the prepared data, for a table in memory is gone'}",
        "unpack the recorded code into a fresh folder",
        "prepare the splits again" if found else "use the prepared splits",
        f"train again: {checks.seed_and_threads(trained, past.spec.train.seed, _cpus()).detail}",
        f"compare {len(trained.metrics.get('validation', {}))} metrics and the weights",
    )
    where = f"Ray at {execution.address}" if execution.on_ray else execution.kind
    return Plan(
        verb="reproduce", what=what, where=where, why=execution.why, steps=steps, seconds=trained.seconds.get("total")
    )


def place(past: Past, found: data.Source | None) -> Execution:
    """Decide where the work runs: on Ray only when the data or the workers need it."""
    spec = again(past.spec, past.trained)
    needs_ray = planning.why_ray(spec)
    execution = planning.place(spec, found, needs_ray=needs_ray)
    return execution if needs_ray or execution.large else runtime.INLINE


def again(spec: Spec, trained: Trained) -> Spec:
    """Return the spec as it was carried out: with the workers that there were, the source where it was."""
    train = spec.train.model_copy(update={"workers": trained.workers})
    found = {"source": absolute(spec.data.source, spec.folder), "text": _text(spec)}
    return spec.model_copy(update={"train": train, "data": spec.data.model_copy(update=found), "model": _model(spec)})


def _text(spec: Spec) -> TextConfig:
    """Name the tokenizer where it was: the folder of the recorded code has sources alone."""
    text = spec.data.text
    return text.model_copy(update={"tokenizer": absolute(text.tokenizer, spec.folder)}) if text.tokenizer else text


def _model(spec: Spec) -> ModelConfig:
    """Name the folder of a Hugging Face model where it was."""
    if not spec.model.is_hugging_face:
        return spec.model
    path = absolute(spec.model.type.removeprefix(HUGGING_FACE), spec.folder)
    return spec.model.model_copy(update={"type": HUGGING_FACE + path})


def rerun(store: Store, trained: Trained, *, tolerance: float | None = None) -> Reproduced:
    """Make a run again and compare; nothing is recorded, and no sealed row is opened.

    Args:
        store: Where the run is kept.
        trained: The run.
        tolerance: Of the metrics, absolute and relative; None takes 1e-6, or 1e-2 on another machine or packages.

    Raises:
        ArtifactError: the run has no model, or the storage does not know what it was made of.
        ResourceError: this machine is too small for it.
        SetupError: this machine lacks what it needs.
    """
    past, started = recorded(store, trained), time.monotonic()
    with scratch(store, shared=trained.workers > 1) as room:
        found = checks.complete(_each(past, room, tolerance))
    return Reproduced(
        run_id=trained.run_id,
        verdict=checks.verdict(found),
        checks=found,
        seconds=round(time.monotonic() - started, 3),
        at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )


def _each(past: Past, room: Scratch, tolerance: float | None) -> Iterator[Check]:
    """Yield the checks as they are come to, until one fails that the next rests on."""
    check, source = _data(past, room)
    yield check
    if not checks.passes(check):
        return
    check = outcome.source(past.store, past.trained.run_id, past.provenance, past.spec.folder, room.code)
    yield check
    if not checks.passes(check):
        return
    spec = again(past.spec, past.trained).model_copy(update={"folder": str(room.code), "storage": room.store.uri})
    execution = place(past, source)
    with own.importing(room.code), runtime.starting(execution) as ray:
        check, splits = _splits(past, spec, room, execution, ray)
        yield check
        here = code.environment()
        kind = checks.environment(past.provenance.environment, here), checks.machine(past.provenance.environment, here)
        yield from kind
        if splits is None:
            return
        yield checks.seed_and_threads(past.trained, spec.train.seed, _cpus())
        ray.wait()
        check, bundle = _train(past, spec, splits, room)
        ray.let_go()
        yield check
        if bundle is None:
            return
        usual = checks.EXACT if checks.same_kind(*kind) else checks.ROUGH
        yield outcome.metrics(past.trained, spec, splits, bundle, usual if tolerance is None else tolerance)
        free = checks.why_free(past.trained, *kind, gpus=spec.train.resources.gpu)
        yield outcome.weights(past.store, past.trained, bundle, free=free)


def _data(past: Past, room: Scratch) -> tuple[Check, data.Source | None]:
    """Read the source again; the memo of fingerprints is a fresh one too."""
    if past.is_table:
        if shards.find(past.store, past.trained.splits_id) is None:
            gone = "it was a table in memory, and what was prepared of it is not in the storage"
            return Check(name="data", verdict="gone", detail=gone), None
        kept = "a table in memory cannot be read again: the prepared data in the storage are used"
        return Check(name="data", verdict="kept", detail=kept), None
    found, why = tried(lambda: planning.locate(past.spec))
    if found is None:
        return Check(name="data", verdict="gone", detail=why), None
    now, why = tried(lambda: data.fingerprint(found, room.store))
    if now is None:
        return Check(name="data", verdict="gone", detail=why), None
    return checks.data(past.provenance.data_fingerprint, now, name=found.name), found


def _splits(
    past: Past, spec: Spec, room: Scratch, execution: Execution, ray: runtime.Connection
) -> tuple[Check, Splits | None]:
    """Prepare the data again, from the raw source."""
    if past.is_table:
        kept = shards.find(past.store, past.trained.splits_id)
        return Check(name="splits", verdict="kept", detail="as they were prepared for the run"), kept
    made, why = tried(lambda: pipeline.prepare(spec, room.store, None, execution, ray.wait))
    if made is None:
        return Check(name="splits", verdict="failed", detail=why), None
    check = checks.splits(past.provenance, made)
    return check, made if checks.passes(check) else None


def _train(past: Past, spec: Spec, splits: Splits, room: Scratch) -> tuple[Check, Path | None]:
    """Train again, as many epochs as the run had: a trial may have been stopped by its study."""
    from raymle.train.threads import computing

    then, started = past.trained, time.monotonic()
    fit = training.fit_single if then.stacked else training.fit
    parent = {"parent": parents.moved(then.pretrained.parent, past.store)} if then.pretrained else {}
    epochs = fit(
        spec.train, spec.model, splits, metric=then.metric, folder=spec.folder, out=room.bundle,
        storage=past.store.uri if past.is_table else spec.storage, transforms=spec.data.transforms, **parent,
    )  # fmt: skip
    last = then.epochs if then.workers == 1 else None
    with computing(then.threads):
        fitted, why = tried(lambda: outcome.follow(epochs, last, training.most_epochs(spec.train, spec.model)))
    if fitted is None:
        return Check(name="training", verdict="failed", detail=why), None
    best = f"best epoch {fitted.best_epoch}" + (
        "" if fitted.best_epoch == then.best_epoch else f", {then.best_epoch} then"
    )
    detail = f"{time.monotonic() - started:.1f} s, {fitted.epochs} epochs, {best}"
    return Check(name="training", verdict="done", detail=detail), room.bundle


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

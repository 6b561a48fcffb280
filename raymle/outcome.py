"""What a training comes to: a bundle that is evaluated, reported, recorded; and which trial of a study that is."""

import math
from collections.abc import Sequence
from pathlib import Path

from raymle import evaluate, tracking, tune
from raymle import train as training
from raymle.attempt import Clock
from raymle.config import Spec
from raymle.data import shards
from raymle.errors import ArtifactError
from raymle.model import probe
from raymle.planning import advice, decisive
from raymle.records import Epoch, Fitted, Metrics, Splits, Study, Trained
from raymle.runtime import Execution
from raymle.store import Store
from raymle.tracking import shelf


def choose(spec: Spec, candidates: Sequence[tune.Candidate], store: Store, splits: Splits) -> tune.Candidate:
    """Return the best candidate; with ``evaluate.limits`` the best that meets them, measured one at a time.

    Raises:
        GateRefused: none does; the nearest miss is named.
    """
    limits = spec.evaluate.limits
    if not limits:
        return candidates[0]
    by_id = {each.run_id: each for each in candidates}
    found = evaluate.first_within((_known(each, spec, store, splits) for each in candidates), limits, _measured)
    return by_id[found.name]


def _known(found: tune.Candidate, spec: Spec, store: Store, splits: Splits) -> evaluate.Candidate:
    """Return what is known of a candidate without timing it: all its validation metrics too, where a limit asks."""
    bundle = store.fetch(f"runs/{found.run_id}/bundle")
    metric = decisive(spec, splits.data_schema)
    facts = {**found.facts, "quality": found.facts.get(metric, math.nan)}
    if not evaluate.asked(spec.evaluate.limits) <= {*facts, *evaluate.MEASURED}:
        facts |= evaluate.measure(splits, bundle, config=spec.evaluate, folder=spec.folder)
    return evaluate.Candidate(found.run_id, bundle, facts)


def _measured(bundle: Path) -> Metrics:
    training.say(f"measuring {bundle.parent.name} against evaluate.limits")
    return {name: float(value) for name, value in probe.measure(bundle)}


def finalists(store: Store, study_id: str, count: int) -> list[Trained]:
    """Make the best trials of a study runs like any other, and return their records, best first.

    Raises:
        ArtifactError: no trial left a model, or the prepared data are gone.
    """
    spec, splits = shelf.load_spec(store, study_id), shards.find(store, shelf.splits_of(store, study_id))
    found = [] if splits is None else tune.recalled(store, study_id, spec, splits)[:count]
    if splits is None or not found:
        what = "no trial that left a model" if splits else "no prepared data any more"
        raise ArtifactError(f"study {study_id} has {what}", hint="raymle tune with --resume goes on with it")
    where = Execution(kind="ray", address=None, why="a trial of a study")
    return [adopt(each, store, splits, execution=where, clock=Clock(), parent=study_id) for each in found]


def adopt(
    found: tune.Candidate,
    store: Store,
    splits: Splits,
    *,
    execution: Execution,
    clock: Clock,
    key: str | None = None,
    study: Study | None = None,
    parent: str | None = None,
) -> Trained:
    """Make a study's trial a run like any other; one that is a run already stays as it is."""
    if made := shelf.finished(store, found.run_id):
        return shelf.crown(store, made, study, key=key) if study else made
    with tracking.reopen(found.spec, store, found.run_id, ends=True) as run:
        tracking.describe_inputs(run, found.spec, splits, store)
        trained = conclude(
            found.spec, store, splits, run, (found.fitted, found.history), execution=execution, clock=clock,
            study=study, parent=parent,
        )  # fmt: skip
    return shelf.crown(store, trained, study, key=key) if study else trained


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
    parent: str | None = None,
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
        run_id=run.id, name=spec.name, status="finished", task=splits.data_schema.kind,
        metric=decisive(spec, splits.data_schema), metrics={"validation": evaluated.metrics},
        intervals=evaluated.intervals, bundle=str(bundle), splits_id=splits.id, rows=dict(splits.rows),
        seconds={"train": fitted.seconds, **clock.seconds()}, execution=execution.kind, model=spec.model.type,
        parameters=fitted.parameters, workers=fitted.workers, threads=fitted.threads, stacked=fitted.stacked,
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        warnings=(*splits.warnings, *advice(spec, splits), *fitted.warnings), study=study, parent=parent,
        pretrained=fitted.pretrained,
    )  # fmt: skip
    shelf.save(store, trained, spec)
    training.forget(store, run.id)
    store.publish(f"runs/{run.id}")
    tracking.record_result(run, trained, spec, splits, store, receipt=evaluate.receipt(store, splits, name=spec.name))
    return trained

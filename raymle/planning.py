"""What a verb would do, where, and why there: decided before anything is read or started."""

import os
from difflib import get_close_matches
from math import ceil
from typing import Any

from raymle import data, evaluate, parents, runtime, tune
from raymle import train as training
from raymle.config import Spec, TuneConfig, WorkersRange
from raymle.config.amount import left_open, settled_spec
from raymle.errors import ResourceError, SpecError, UsageError
from raymle.loader import environment
from raymle.measure import metrics, prices
from raymle.model import fits, require_tokenizer
from raymle.records import ImageInput, Inputs, Plan, Schema, SequenceInput, Splits, TextInput
from raymle.runtime import Execution

ROWS_PER_SECOND = 150_000
"""A small network on two cores: for the plan's guess only."""
KINDS = ("text", "image", "sequence")
FEW_STEPS = 50
"""Fewer steps than this hardly move a network."""
MANY_CLASSES, FEW_ROWS = 20, 10
"""More classes than this with fewer rows each look like a number that was taken for classes."""


def check(spec: Spec) -> None:
    """Find what cannot work, or is not there yet, before anything is read or started."""
    training.check(spec.train, spec.model, folder=spec.folder)
    require_tokenizer(spec.model, spec.data.text.tokenizer)
    if spec.cluster.node and prices.per_hour(spec.cluster.node, spec.cluster.dollars_per_hour) is None:
        near = get_close_matches(spec.cluster.node, prices.DOLLARS_PER_HOUR, n=1)
        hint = f"did you mean {near[0]}?" if near else "set cluster.dollars_per_hour"
        raise SpecError(f"cluster.node {spec.cluster.node!r} is in no price list of {prices.DATE}", hint=hint)
    later = {
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
    words = data.words(spec.data, by=spec.split.column)
    return data.resolve(source if source is not None else spec.data.source, folder=spec.folder, words=words)


def place(spec: Spec, found: data.Source | None, *, needs_ray: str = "") -> Execution:
    """Decide where the work runs; without a source there is nothing to prepare."""
    remote = any("://" in name for name in (*found.files, found.root)) if found else False
    decoded = found.bytes if found else 0
    execution = runtime.decide(spec.cluster, needs_ray=needs_ray, decoded_bytes=decoded, remote=remote)
    wanted, have = training.count(spec.train) * spec.train.resources.cpu, os.cpu_count() or 1
    if execution.address == "local" and wanted > have:
        raise ResourceError(
            f"{training.count(spec.train)} workers x {spec.train.resources.cpu:g} CPU are more than the {have} here",
            hint="lower train.workers, or name a bigger cluster by cluster.address",
        )
    return execution


def decisive(spec: Spec, schema: Schema) -> str:
    """Name the metric that decides."""
    return metrics.decisive(spec.evaluate.metric, schema.task, len(schema.classes))


def plan(spec: Spec, verb: str, *, source: Any = None) -> Plan:
    """Check everything and say what a verb would do; nothing is started, nothing is written."""
    check(spec)
    parents.find(spec)
    search = tune.check(spec) if verb == "tune" else None
    needs_ray = "a search runs on Ray Tune" if verb == "tune" else why_ray(spec)
    found = locate(spec, source)
    execution = place(spec, found, needs_ray=needs_ray)
    schema = data.infer(found, spec.data, by=spec.split.column)
    evaluate.check(spec.evaluate, spec.promote, schema, folder=spec.folder)
    for each in tune.ways(spec) if search else [spec]:
        fits(each.model, _like(schema))
    rows = found.bytes // max(1, 8 * len(schema.columns))
    trials, epochs = search.trials if search else 1, settled_spec(spec, rows).train.epochs
    seconds = 6 + (12 if execution.on_ray else 0) + trials * epochs * rows / ROWS_PER_SECOND
    if search and search.budget.minutes:
        seconds = min(seconds, 60 * search.budget.minutes)
    price = prices.per_hour(spec.cluster.node, spec.cluster.dollars_per_hour) or 0.0
    what = f"{spec.model.type} predicts {schema.target} ({schema.kind}) from {len(schema.features)} columns"
    steps = (
        f"prepare {found.name}, about {found.bytes / 2**20:.1f} MB once decoded",
        f"split by {spec.split.method}, the test rows sealed",
        _trials(spec, search, execution) if search
        else f"train {_epochs(spec)} with {spec.train.workers} worker(s)" + _begun(spec),
        f"evaluate on validation, and record in {spec.storage}",
    )  # fmt: skip
    return Plan(
        verb=verb, what=what, where=execution.kind if not execution.on_ray else f"Ray at {execution.address}",
        why=execution.why, steps=steps, seconds=round(seconds, 1),
        dollars=round(prices.cost(seconds, price), 4),
    )  # fmt: skip


def _like(schema: Schema) -> Inputs:
    """Return inputs of the kinds that a schema has; nobody knows their sizes yet."""
    named = {kind: [each.name for each in schema.features if each.type == kind] for kind in KINDS}
    return Inputs(
        numbers=1,
        texts=tuple(TextInput(column=name, length=1, vocabulary=2) for name in named["text"]),
        images=tuple(ImageInput(column=name, channels=1, height=1, width=1) for name in named["image"]),
        sequences=tuple(SequenceInput(column=name, steps=1, width=1) for name in named["sequence"]),
    )


def _epochs(spec: Spec) -> str:
    if "train.epochs" in left_open(spec.train) and not spec.model.is_grown:
        return "as many epochs as suit the rows"
    return f"at most {training.most_epochs(spec.train, spec.model)} epochs"


def _begun(spec: Spec) -> str:
    """Say where the first weights come from; empty when it is the seed."""
    source = spec.train.pretrained.source
    return f", beginning with the weights of {source}" if source else ""


def inferred(spec: Spec) -> Schema:
    """Return what each column is, without the classes, which nobody has counted."""
    return data.infer(locate(spec), spec.data, by=spec.split.column)


def _trials(spec: Spec, search: TuneConfig, execution: Execution) -> str:
    """Say which trials a search runs; on a Ray of its own also how many at one time.

    Raises:
        ResourceError: no trial fits on this machine.
    """
    text = f"{search.trials} trials of {_epochs(spec)}, proposed by {search.algorithm}"
    text += f", stopped early by {search.scheduler}" if search.scheduler != "none" else ""
    if execution.address != "local":
        return text
    here = [{"CPU": float(os.cpu_count() or 1)}]
    fit = tune.slots(here, spec.train.resources, workers=training.count(spec.train))
    return f"{text}, {min(fit, search.concurrency or fit)} at a time"


def advice(spec: Spec, splits: Splits) -> tuple[str, ...]:
    """Say what the user may not have meant, now that the rows are counted."""
    schema, rows = splits.data_schema, splits.rows
    told = []
    if "://" in spec.storage and not (spec.tracking.uri or environment("MLFLOW_TRACKING_URI")):
        told.append("tracking.uri is not set: MLflow's pages and the registry stay on this machine, not in the storage")
    if rows["test"] < spec.promote.min_fresh_rows:
        told.append(
            f"{rows['test']:,} test rows are fewer than promote.min_fresh_rows, {spec.promote.min_fresh_rows:,}: "
            "no score on them can promote; seal more, or train with a lower number before any score"
        )
    steps = spec.train.epochs * ceil(rows["train"] / spec.train.batch_size)
    if not (spec.model.is_grown or spec.train.loop) and steps < FEW_STEPS:
        told.append(
            f"{rows['train']:,} train rows in batches of {spec.train.batch_size:,}, {spec.train.epochs} times, come to "
            f"few steps to learn in, {steps:,}: train.batch_size and train.epochs at auto follow the rows"
        )
    if len(schema.classes) > MANY_CLASSES and sum(rows.values()) < FEW_ROWS * len(schema.classes):
        told.append(f"target {schema.target!r} has {len(schema.classes):,} classes for {sum(rows.values()):,} rows")
    return tuple(told)

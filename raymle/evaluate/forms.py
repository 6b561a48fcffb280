"""The forms of one model beside each other: as trained, as ONNX, in 8 bits. What each weighs, takes and is worth."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from raymle.config import EvaluateConfig
from raymle.evaluate.evaluator import measure
from raymle.measure import metrics
from raymle.measure.resources import MEGABYTE
from raymle.model import probe
from raymle.model.bundle import ONNX, WEIGHTS
from raymle.records import Metrics, Record, Splits


class Validation(NamedTuple):
    """The validation rows of a model's run, and how quality is measured on them."""

    splits: Splits
    config: EvaluateConfig
    folder: str
    metric: str


class Form(Record):
    """One form of a model, measured: size, speed, and quality on the validation rows."""

    name: str
    size_mb: float
    """Of the file with its weights."""
    latency_ms: float
    latency_p95_ms: float
    batch_latency_ms: float
    """Of 64 rows."""
    memory_mb: float
    quality: float | None = None
    """The metric of the run."""
    loss: float | None = None
    """By how much it is worse than the original, as ``loss`` counts; below 0 it is better."""


def compared_forms(folders: Mapping[str, Path], rows: Validation | None) -> list[Form]:
    """Measure forms one after another; the first is the original, which the others are compared with."""
    forms = [measured(name, folder, rows) for name, folder in folders.items()]
    if rows is None:
        return forms
    first = forms[0].quality or 0.0
    return [form.model_copy(update={"loss": loss(rows.metric, first, form.quality or 0.0)}) for form in forms]


def measured(name: str, folder: Path, rows: Validation | None) -> Form:
    """Measure one form: speed in a process of its own, quality on the validation rows."""
    found = probe.measure(folder)
    files = [folder / each for each in (ONNX, WEIGHTS) if (folder / each).is_file()]
    quality: Metrics = measure(rows.splits, folder, config=rows.config, folder=rows.folder) if rows else {}
    return Form(
        name=name, size_mb=files[0].stat().st_size / MEGABYTE, latency_ms=found.latency_ms,
        latency_p95_ms=found.latency_p95_ms, batch_latency_ms=found.batch_latency_ms, memory_mb=found.memory_mb,
        quality=quality.get(rows.metric, math.nan) if rows else None,
    )  # fmt: skip


def loss(metric: str, original: float, value: float) -> float:
    """Return by how much a value of a metric is worse; NaN counts as infinitely worse.

    Metrics between 0 and 1 are compared by their difference. RMSE, MAE and log loss have a unit or no end: theirs is a
    share of the original's.
    """
    if math.isnan(value):
        return math.inf
    if metrics.higher_is_better(metric):
        return original - value
    return (value - original) / (abs(original) or 1.0)

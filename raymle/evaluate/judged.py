"""A model's predictions beside the truth, and what they come to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from raymle.evaluate import baselines
from raymle.measure import metrics
from raymle.records import Metrics, Record, Schema


class Evaluated(Record):
    """How good a model is on some rows, and how sure that is."""

    metrics: Metrics
    intervals: dict[str, tuple[float, float]]
    rows: int
    report: str | None = None
    """The HTML page, when one was written."""


@final
@dataclass(frozen=True)
class Judged:
    """A model's predictions beside the truth."""

    schema: Schema
    y: NDArray[Any]
    predicted: NDArray[np.float64]
    extra: Mapping[str, metrics.UserMetric] = field(default_factory=dict)
    baselines: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """What simple forecasts say of the same rows; none where the task is no forecast."""
    times: NDArray[Any] | None = None
    """The moment of each row of a forecast, where it is known."""
    lines: NDArray[Any] | None = None
    """Which series each row of a forecast is of, where it is known."""

    @property
    def positive(self) -> int | None:
        """The place of the positive class when there are two: the last, if the schema names none."""
        if len(self.schema.classes) != 2:
            return None
        return self.schema.classes.index(self.schema.positive) if self.schema.positive in self.schema.classes else 1

    @property
    def said(self) -> NDArray[np.int64]:
        """The most probable class of each row."""
        return np.asarray(self.predicted.argmax(axis=1))

    @property
    def mistakes(self) -> NDArray[np.int64]:
        """The rows that are wrong, the worst first: by the probability of the wrong class, or by the distance."""
        if not self.schema.classes:
            return np.asarray(np.argsort(-np.abs(self.predicted - self.y), kind="stable"))
        wrong = np.flatnonzero(self.said != self.y)
        return np.asarray(wrong[np.argsort(-self.predicted[wrong, self.said[wrong]], kind="stable")])

    def fact(self, row: int) -> tuple[Any, Any, float | None]:
        """Return a row's truth, what was said of it, and with which probability; None of a number."""
        if not self.schema.classes:
            return float(self.y[row]), float(self.predicted[row]), None
        names, said = self.schema.classes, int(self.said[row])
        return names[int(self.y[row])], names[said], float(self.predicted[row, said])

    def measure(self, part: NDArray[np.bool_] | slice = slice(None)) -> Evaluated:
        """Measure some of the rows, or all."""
        task, y, predicted, positive = self.schema.task, self.y[part], self.predicted[part], self.positive
        bounds = metrics.intervals(task, y, predicted, positive_index=positive)
        return Evaluated(metrics=self.metrics(part), intervals=bounds, rows=len(y))

    def metrics(self, part: NDArray[np.bool_] | slice = slice(None)) -> Metrics:
        """Return the metrics of some of the rows, or all, without their intervals."""
        y, predicted = self.y[part], self.predicted[part]
        found = metrics.compute(self.schema.task, y, predicted, positive_index=self.positive, extra=self.extra)
        beside = {name: forecast[part] for name, forecast in self.baselines.items()}
        return found | baselines.measured(y, predicted, beside)

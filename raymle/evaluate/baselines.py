"""What a forecast must beat, on the same rows: the last value, and the value of the last season. Pure."""

from collections.abc import Mapping
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raymle.data import sequences
from raymle.data.encoded import Encoded
from raymle.data.transform import Transform
from raymle.measure import metrics
from raymle.records import Metrics, Schema, Series

Floats = NDArray[np.float64]
LAST, SEASONAL = "last_value", "seasonal_naive"
SKILL = "skill"
"""1 - mae / seasonal_naive_mae: 0 is no better than seasonal naive, 1 is without error."""
MEASURED = ("mae", "rmse")
NAMES = (SKILL, *(f"{name}_{metric}" for name in (SEASONAL, LAST) for metric in MEASURED))
FOLDS = 5


class Fold(NamedTuple):
    """A part of the validation time, and what was measured in it."""

    first: Any
    last: Any
    rows: int
    metrics: Metrics


def of(schema: Schema, transform: Transform, encoded: Encoded) -> dict[str, Floats]:
    """Return each baseline's forecast ``[n]`` in raw units, from the windows; nothing where the task is no forecast."""
    if schema.series is None:
        return {}
    window, start = transform.sequences[0], transform.inputs.numbers
    rows = encoded.numbers[:, start : start + window.steps * len(window.columns)]
    past = sequences.unscaled(rows, window, schema.series.target)
    return {SEASONAL: past[:, -1 - _back(schema.series)], LAST: past[:, -1]}


def _back(series: Series) -> int:
    """Return how many steps before a window's end the value of the last known season is."""
    return series.season * ceil(series.horizon / series.season) - series.horizon


def measured(y: Floats, predicted: Floats, baselines: Mapping[str, Floats]) -> Metrics:
    """Return the baselines' errors and what the model gains over them; nothing without baselines or rows."""
    found: Metrics = {}
    if not baselines or not len(y):
        return found
    for name, forecast in baselines.items():
        for metric in MEASURED:
            found |= {f"{name}_{metric}": metrics.compute("regression", y, forecast, only=metric)[metric]}
    naive = found[f"{SEASONAL}_mae"]
    if naive:
        found[SKILL] = 1 - metrics.compute("regression", y, predicted, only="mae")["mae"] / naive
    return found


def folds(y: Floats, predicted: Floats, baselines: Mapping[str, Floats], times: NDArray[Any]) -> list[Fold]:
    """Cut rows by their time into parts of about as many rows, and measure each; rows of one moment stay together."""
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    cuts = np.searchsorted(ordered, [part[0] for part in np.array_split(ordered, FOLDS) if len(part)])
    found = []
    for rows in np.split(order, np.unique(cuts)[1:]):
        part = {name: forecast[rows] for name, forecast in baselines.items()}
        both = {
            **{name: metrics.compute("regression", y[rows], predicted[rows], only=name)[name] for name in MEASURED},
            **measured(y[rows], predicted[rows], part),
        }
        found.append(Fold(times[rows].min(), times[rows].max(), len(rows), both))
    return found

"""How models stand to each other: which of them nobody beats, and where each is between the others. Pure."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from raymle.measure.metrics import higher_is_better

if TYPE_CHECKING:
    from raymle.evaluate.compare import Row

BANDS = ("very low", "low", "medium", "high", "very high")
UNKNOWN = "unknown"
ALIKE = 1.05
"""Values within 5 % of each other have one band."""
WEIGHED = ("latency_ms", "memory_mb", "train_seconds", "dollars")
"""What is weighed against quality for the Pareto front; the other columns follow from these or do not hurt."""


def pareto(rows: "Sequence[Row]", metric: str) -> list[bool]:
    """Say of each row whether it is on the Pareto front: no other row dominates it.

    A row dominates another when it is nowhere worse and somewhere better, by the exact numbers, in quality, latency of
    one row, memory, seconds of training and dollars. What is unknown of some row counts for none.
    """
    names = [name for name in WEIGHED if all(getattr(row, name) is not None for row in rows)]
    sign = -1 if higher_is_better(metric) else 1
    costs = [(sign * row.quality, *(getattr(row, name) for name in names)) for row in rows]
    return [not any(_dominates(other, mine) for other in costs) for mine in costs]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(left <= right for left, right in zip(one, other, strict=True))


def bands(rows: "Sequence[Row]", name: str, metric: str) -> list[str]:
    """Put a column's values into five bands between the smallest and the largest of these rows.

    The bands are fifths of the way on a log scale, so they say how models compare, not whether one is good. Values
    within 5 % of each other are all medium. A zero is very low, and stands for a tenth of the smallest other value.
    Quality is placed by what it lacks to a perfect score (1 - roc_auc, or the loss itself) and is high when that is
    small, so from 0.98 to 0.99 is as far as from 0.8 to 0.9.
    """
    if name != "quality":
        return _fifths([getattr(row, name) for row in rows])
    lacks = _fifths([max(0.0, 1 - row.quality if higher_is_better(metric) else row.quality) for row in rows])
    return [BANDS[-1 - BANDS.index(band)] for band in lacks]


def _fifths(values: Sequence[float | None]) -> list[str]:
    positive = [value for value in values if value]
    if not positive:
        return [UNKNOWN if value is None else BANDS[0] for value in values]
    if 0 not in values and max(positive) <= min(positive) * ALIKE:
        return [UNKNOWN if value is None else "medium" for value in values]
    low = math.log(min(positive)) - (math.log(10) if 0 in values else 0)
    way = math.log(max(positive)) - low
    fifths = [int(5 * (math.log(value) - low) / way) if value else 0 for value in values]
    return [UNKNOWN if value is None else BANDS[min(fifth, 4)] for value, fifth in zip(values, fifths, strict=True)]

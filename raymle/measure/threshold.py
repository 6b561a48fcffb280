"""Where the usual ends: the threshold of an anomaly's score. Pure."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WITHOUT = 0.99
"""Share of the usual rows that are below the threshold where no row is known to be an anomaly."""


class Threshold(NamedTuple):
    """What is called an anomaly."""

    value: float
    scale: float
    """Standard deviation of the usual rows' scores, or 1."""
    told: tuple[str, ...] = ()


def best(scores: NDArray[np.floating], odd: NDArray[np.bool_]) -> Threshold:
    """Return the threshold of the best F1, in the middle between two scores.

    Args:
        scores: How unusual each row is ``[n]``.
        odd: Which rows are anomalies ``[n]``.
    """
    usual = scores[~odd]
    scale = float(usual.std()) if len(usual) and usual.std() > 0 else 1.0
    if not odd.any():
        value = float(np.quantile(usual, WITHOUT)) if len(usual) else 0.0
        why = f"no validation row is an anomaly: the threshold leaves {1 - WITHOUT:.0%} of what is usual above it"
        return Threshold(value, scale, (why,))
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order].astype(np.float64), odd[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + odd.sum())
    last = np.append(ordered[1:] != ordered[:-1], True)  # equal scores are on one side
    place = int(np.argmax(np.where(last, f1, -1)))
    below = ordered[place + 1] if place + 1 < len(ordered) else ordered[place] - scale
    return Threshold(float((ordered[place] + below) / 2), scale)

"""What a model answered, in numbers that one histogram and one count a class can hold."""

import numpy as np
from numpy.typing import NDArray

from raymle.data.transform import Transform
from raymle.records import Schema
from raymle.serve.families import MOST_CLASSES, OTHER

DEVIATIONS, BUCKETS = 4, 16


def edges(schema: Schema, transform: Transform) -> tuple[float, ...]:
    """Return the ends of the buckets: tenths of a probability, or 16 within 4 standard deviations of the mean."""
    if schema.task == "classification":
        return tuple(tenth / 10 for tenth in range(1, 10))
    reach = DEVIATIONS * transform.target_std
    found = np.linspace(transform.target_mean - reach, transform.target_mean + reach, BUCKETS + 1)
    return tuple(np.unique(found).tolist())


def class_names(schema: Schema) -> tuple[str, ...]:
    """Return the first 50 classes, and ``other`` when there are more; none for a number."""
    return schema.classes[:MOST_CLASSES] + (OTHER,) * (len(schema.classes) > MOST_CLASSES)


def finite(predictions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rows that are answers: one NaN would stay in a sum for good."""
    good = np.isfinite(predictions)
    return predictions if good.all() else predictions[good.all(axis=-1) if good.ndim > 1 else good]


def class_counts(predictions: NDArray[np.float64], names: int) -> list[int]:
    """Count the likeliest class of each row of ``[n, classes]`` under each of so many names; the last has the rest."""
    places = np.minimum(predictions.argmax(axis=1), names - 1)
    counts: list[int] = np.bincount(places, minlength=names).tolist()
    return counts


def values(predictions: NDArray[np.float64], positive: int | None) -> NDArray[np.float64]:
    """Return for each row the number, or the probability of the positive class, else of the likeliest."""
    if predictions.ndim == 1:
        return predictions
    return predictions.max(axis=1) if positive is None else predictions[:, positive]

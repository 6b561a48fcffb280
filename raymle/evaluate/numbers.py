"""The numbers behind the charts; pure."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raymle.evaluate.judged import Judged

MOST_CLASSES = 12
MOST_CURVES = 6
POINTS = 400

Row = tuple[Any, ...]


def confusion_counts(y: NDArray[Any], said: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Count the rows of each (true, predicted) pair, ``[classes, classes]``."""
    pairs = np.bincount(y.astype(np.int64) * classes + said, minlength=classes * classes)
    return np.asarray(pairs.reshape(classes, classes))


def merged(judged: Judged) -> tuple[NDArray[np.int64], list[str]]:
    """Confusion counts of the most frequent classes, with the rest in one."""
    classes = list(judged.schema.classes)
    counts = confusion_counts(judged.y, judged.said, len(classes))
    if len(classes) <= MOST_CLASSES:
        return counts, classes
    kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[: MOST_CLASSES - 1])
    group = np.full(len(classes), len(kept))
    group[kept] = np.arange(len(kept))
    merged = np.zeros((len(kept) + 1, len(kept) + 1), np.int64)
    np.add.at(merged, (group[:, None], group[None, :]), counts)
    return merged, [*(classes[place] for place in kept), f"{len(classes) - len(kept)} others"]


def curves(judged: Judged) -> list[int]:
    """Choose the classes to draw: the positive one, or the most frequent."""
    if judged.positive is not None:
        return [judged.positive]
    counts = np.bincount(judged.y.astype(np.int64), minlength=len(judged.schema.classes))
    return sorted(int(place) for place in np.argsort(-counts, kind="stable")[:MOST_CURVES])


def counts_by_threshold(
    hit: NDArray[np.bool_], score: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows called positive at each threshold, right and wrong, thinned to what a picture shows."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    found = np.cumsum(hit[order])
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    kept = last[np.unique(np.linspace(0, len(last) - 1, min(POINTS, len(last))).astype(int))]
    return ordered[kept], found[kept], kept + 1 - found[kept]


def by_bin(along: NDArray[Any], edges: NDArray[Any], values: Iterable[NDArray[Any]]) -> list[Row]:
    """Average some values over the rows of each bin."""
    place = np.clip(np.searchsorted(edges, along, side="right") - 1, 0, max(len(edges) - 2, 0))
    rows = np.bincount(place)
    means = [np.bincount(place, weights=each) / np.maximum(rows, 1) for each in values]
    return [
        (
            f"{edges[one]:.4g} to {edges[min(one + 1, len(edges) - 1)]:.4g}",
            int(rows[one]),
            *(mean[one] for mean in means),
        )
        for one in range(len(rows))
        if rows[one]
    ]

"""How well one column alone predicts the target: a table of its bins, learned on two thirds, judged on the third.

That is what a shallow decision tree on one column comes to, at the cost of counting.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.data.summary import bins
from raymle.data.summary.bins import Codes, Floats

FOLDS = 3
MOST_CLASSES, FEWEST_OF_CLASS = 20, 20
MOST_CELLS = 1_000_000


@final
@dataclass(frozen=True)
class Truth:
    """The target of the sampled rows."""

    values: Any
    """Class codes, or numbers in units of their deviation from their mean."""
    classes: int
    """How many classes; 0 for a number."""
    folds: Codes
    """Which third each row is in."""


def truth(values: pa.ChunkedArray, *, task: str) -> Truth:
    """Return the target as it is needed here; no target is null."""
    folds = np.random.default_rng(0).integers(0, FOLDS, len(values))
    if task == "regression":
        found = bins.numbers(values)
        with np.errstate(all="ignore"):
            deviation = found.std()
            return Truth((found - found.mean()) / (deviation or 1.0), 0, folds)
    encoded = bins.words(values).dictionary_encode()
    return Truth(np.asarray(pc.fill_null(encoded.indices.cast(pa.int64()), 0)), len(encoded.dictionary), folds)


def power(codes: Codes, count: int, target: Truth) -> float:
    """Return ROC AUC (of several classes the mean by their rows) or R² of rows not learned from; 0 is no answer."""
    if not len(codes) or count * max(1, target.classes) * FOLDS > MOST_CELLS:
        return 0.0
    return _auc(codes, count, target) if target.classes else _r2(codes, count, target)


def table(codes: Codes, count: int, target: Truth) -> NDArray[np.int64]:
    """Count rows by bin and class [count, classes]."""
    return np.bincount(codes * target.classes + target.values, minlength=count * target.classes).reshape(count, -1)


def _auc(codes: Codes, count: int, target: Truth) -> float:
    key = (target.folds * count + codes) * target.classes + target.values
    parts = np.bincount(key, minlength=FOLDS * count * target.classes).reshape(FOLDS, count, target.classes)
    of_class = parts.sum((0, 1))
    large = [each for each in np.argsort(-of_class)[:MOST_CLASSES] if of_class[each] >= FEWEST_OF_CLASS]
    if len(large) < 2:
        return 0.0
    large = large[:1] if target.classes == 2 else large  # the other is the same
    found = [np.mean(list(_of_class(parts, int(each)))) for each in large]
    return float(np.average(found, weights=of_class[large]))


def _of_class(parts: NDArray[np.int64], place: int) -> Iterator[float]:
    """Yield each fold's AUC of one class against the others."""
    hits, rows = parts[:, :, place], parts.sum(2)
    for fold in range(FOLDS):
        learned_hits, learned = hits.sum(0) - hits[fold], rows.sum(0) - rows[fold]
        prior = learned_hits.sum() / max(1, learned.sum())
        score = (learned_hits + prior) / (learned + 1)
        _, same = np.unique(score, return_inverse=True)
        yes, no = np.bincount(same, hits[fold]), np.bincount(same, rows[fold] - hits[fold])
        pairs = yes.sum() * no.sum()
        yield float((yes * (np.cumsum(no) - no / 2)).sum() / pairs) if pairs else 0.5


def _r2(codes: Codes, count: int, target: Truth) -> float:
    key, cells = target.folds * count + codes, FOLDS * count
    rows = np.bincount(key, minlength=cells).reshape(FOLDS, count)
    sums = np.bincount(key, target.values, minlength=cells).reshape(FOLDS, count)
    learned, total = rows.sum(0) - rows, sums.sum(0) - sums
    said = total / (learned + 1e-9) * (learned > 0)
    errors = (target.values - said.ravel()[key]) ** 2
    spread = float((target.values**2).sum())
    return 1 - float(errors.sum()) / spread if spread else 0.0


def straight(values: Floats, target: Truth) -> tuple[float, float]:
    """Return r² of a number with a numeric target, and the absolute rank correlation."""
    known = np.isfinite(values)
    if known.sum() < max(FEWEST_OF_CLASS, 0.9 * len(values)):
        return 0.0, 0.0
    mine, theirs = values[known], target.values[known]
    return _r(mine, theirs) ** 2, abs(_r(_ranks(mine), _ranks(theirs)))


def _r(left: Floats, right: Floats) -> float:
    left, right = left - left.mean(), right - right.mean()
    with np.errstate(all="ignore"):
        found = float((left * right).sum() / np.sqrt((left**2).sum() * (right**2).sum()))
    return found if np.isfinite(found) else 0.0


def _ranks(values: Floats) -> Floats:
    """Return the middle rank of every value."""
    _, same, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - counts / 2)[same]

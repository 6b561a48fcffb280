"""Quality of predictions under scikit-learn's names, with bootstrap intervals.

One formula per metric serves the number and its interval: it takes a matrix of row weights ``[repeats, n]``.
All ones give the metric, resampled counts the bootstrap. scikit-learn itself takes 1.7 s to import, more than
an epoch takes, so it is what the tests compare with rather than what runs.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from raymle.errors import SpecError, WorkError
from raymle.records import Metrics

Task = Literal["classification", "regression"]
Floats = NDArray[np.float64]
UserMetric = Callable[[NDArray[Any], Floats], float]
Scorer = Callable[[NDArray[Any], Floats, Floats], Floats]

INTERVAL_ROWS = 20_000
ALL_ROWS, FEWEST_OF_A_CLASS = 1_000_000, 50
RANKED_CLASSES = 20
LOWER_IS_BETTER = frozenset(
    {"log_loss", *(f"{of}{name}" for name in ("rmse", "mae") for of in ("", "seasonal_naive_", "last_value_"))}
)
BLOCK = 16


def primary(task: Task, classes: int) -> str:
    """Name the metric that decides when the spec names none."""
    if task == "regression":
        return "rmse"
    return "roc_auc" if classes <= 2 else "accuracy"


def decisive(chosen: str, task: Task, classes: int) -> str:
    """Return the metric that decides: the spec's, or for ``auto`` the task's own.

    Raises:
        SpecError: the task has no such metric.
    """
    if chosen == "auto":
        return primary(task, classes)
    known = names(task, classes)
    if chosen not in known:
        raise SpecError(
            f"evaluate.metric {chosen!r} is not a metric of this {task}", hint=f"use one of {', '.join(known)}"
        )
    return chosen


def names(task: Task, classes: int = 2) -> tuple[str, ...]:
    """Name every metric of a task."""
    return tuple(_scorers(task, classes, 1))


def is_built_in(name: str) -> bool:
    """Whether a name is that of one of these metrics, whatever the task."""
    return name in {*names("classification", 2), *names("classification", 3), *names("regression", 0)}


def higher_is_better(metric: str) -> bool:
    """Whether more is better; a user's own metric counts as a gain."""
    return metric not in LOWER_IS_BETTER


def better(metric: str, value: float, than: float) -> bool:
    """Whether a value of a metric beats another."""
    return value > than if higher_is_better(metric) else value < than


def compute(
    task: Task,
    y: NDArray[Any],
    predicted: Floats,
    *,
    positive_index: int | None = None,
    extra: Mapping[str, UserMetric] | None = None,
    only: str | None = None,
) -> Metrics:
    """Measure predictions; what these rows leave undefined (ROC AUC of one class) is absent.

    Args:
        task: Kind of prediction.
        y: Class index, or the value in raw units, ``[n]``.
        predicted: Probabilities ``[n, classes]``, or values ``[n]``.
        positive_index: The class that counts as positive when there are two; the last when None.
        extra: The user's metrics. Two classes: called with 1 for positive and its probability; more classes:
            the class index and all probabilities; regression: the values.
        only: Compute just this one, as an epoch does.
    """
    ones = np.ones((1, len(y)))
    scorers = _scorers(task, _width(predicted), positive_index)
    wanted = scorers if only is None else {name: scorers[name] for name in (only,) if name in scorers}
    found = {name: float(score(y, predicted, ones)[0]) for name, score in wanted.items()} if len(y) else {}
    for name, user_metric in (extra or {}).items():
        if only in {None, name}:
            found[name] = _called(name, user_metric, _for_user(task, y, predicted, positive_index))
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _rarest(y: NDArray[Any]) -> int:
    counts = np.bincount(y.astype(np.int64))
    return int(counts[counts > 0].min())


def intervals(
    task: Task,
    y: NDArray[Any],
    predicted: Floats,
    *,
    positive_index: int | None = None,
    repeats: int = 200,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Bound each metric by the 95 % percentile bootstrap.

    Beyond 20,000 rows (fewer when there are many classes to rank) a random part is resampled and the width
    scaled by the root of its share. Beyond 20 classes only accuracy and log loss, which rank nothing, do.
    """
    if not len(y):
        return {}
    rng = np.random.default_rng(seed)
    classes = _width(predicted)
    most = INTERVAL_ROWS if classes <= 2 else max(2000, INTERVAL_ROWS // classes)
    if task == "classification" and len(y) <= ALL_ROWS and _rarest(y) * most < FEWEST_OF_A_CLASS * len(y):
        most = len(y)  # a part would hold hardly any of the rarest class
    part = rng.choice(len(y), most, replace=False) if len(y) > most else np.arange(len(y))
    scale = float(np.sqrt(len(part) / len(y)))
    scorers = _scorers(task, classes, positive_index)
    if classes > RANKED_CLASSES:
        scorers = {name: score for name, score in scorers.items() if name in {"accuracy", "log_loss"}}
    draws: dict[str, list[Floats]] = {name: [] for name in scorers}
    for first in range(0, repeats, BLOCK):
        weights = _resamples(rng, len(part), min(BLOCK, repeats - first))
        for name, score in scorers.items():
            draws[name].append(score(y[part], predicted[part], weights))
    points = compute(task, y, predicted, positive_index=positive_index)
    center = compute(task, y[part], predicted[part], positive_index=positive_index) if scale < 1 else points
    return {
        name: _bounds(np.concatenate(found), points[name], center[name], scale)
        for name, found in draws.items()
        if name in points and name in center
    }


def _resamples(rng: np.random.Generator, rows: int, repeats: int) -> Floats:
    """Draw rows with replacement and return how often each was drawn, ``[repeats, rows]``."""
    drawn = rng.integers(0, rows, (repeats, rows))
    return np.stack([np.bincount(one, minlength=rows) for one in drawn]).astype(np.float64)


def _bounds(draws: Floats, point: float, center: float, scale: float) -> tuple[float, float]:
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return point, point
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(point + (low - center) * scale), float(point + (high - center) * scale)


def _width(predicted: Floats) -> int:
    return 1 if predicted.ndim == 1 else predicted.shape[1]


def _called(name: str, user_metric: UserMetric, given: tuple[NDArray[Any], Floats]) -> float:
    try:
        return float(user_metric(*given))
    except Exception as error:  # the user's function may raise anything
        raise WorkError(
            f"the metric {name} failed: {type(error).__name__}: {error}",
            hint="it is called with the truth and the prediction, and returns one number",
        ) from error


def _for_user(
    task: Task, y: NDArray[Any], predicted: Floats, positive_index: int | None
) -> tuple[NDArray[Any], Floats]:
    if task == "regression" or predicted.shape[1] != 2:
        return y, predicted
    positive = 1 if positive_index is None else positive_index
    return (y == positive).astype(np.int64), predicted[:, positive]


def _scorers(task: Task, classes: int, positive_index: int | None) -> dict[str, Scorer]:
    if task == "regression":
        return {"r2": _r2, "rmse": _rmse, "mae": _mae}
    positive = 1 if positive_index is None else positive_index
    ranked = [positive] if classes <= 2 else list(range(classes))
    return {
        "accuracy": _accuracy,
        "roc_auc": _mean_over(_roc_auc, ranked),
        "average_precision": _mean_over(_average_precision, ranked),
        "log_loss": _log_loss,
        "f1": lambda y, p, w: _f1(ranked, y, p, w),
    }


def _mean_over(score: Scorer, classes: list[int]) -> Scorer:
    """Average a one-against-rest score over the classes for which it is defined."""

    def mean(y: NDArray[Any], predicted: Floats, weights: Floats) -> Floats:
        each = np.stack([score(y == one, predicted[:, one], weights) for one in classes])
        defined = np.isfinite(each)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(defined, each, 0).sum(axis=0) / defined.sum(axis=0))

    return mean


def _ranked(hit: NDArray[np.bool_], score: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weights of hits and of misses at each distinct score, highest score first, ``[repeats, scores]``."""
    order = np.argsort(-score, kind="stable")
    ordered, hit = score[order], hit[order]
    weights = weights[:, order]
    hits = weights * hit
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    if len(starts) == len(ordered):
        return hits, weights - hits
    return np.add.reduceat(hits, starts, axis=1), np.add.reduceat(weights - hits, starts, axis=1)


def _roc_auc(hit: NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    """Share of (hit, miss) pairs in the right order; a tie counts half."""
    hits, misses = _ranked(hit, score, weights)
    above = np.cumsum(hits, axis=1) - hits / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((misses * above).sum(axis=1) / (hits.sum(axis=1) * misses.sum(axis=1)))


def _average_precision(hit: NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    hits, misses = _ranked(hit, score, weights)
    found = np.cumsum(hits, axis=1)
    called = found + np.cumsum(misses, axis=1)
    with np.errstate(invalid="ignore"):
        precision = np.where(called > 0, found / np.maximum(called, 1e-300), 0)
        return np.asarray((hits * precision).sum(axis=1) / hits.sum(axis=1))


def _accuracy(y: NDArray[Any], predicted: Floats, weights: Floats) -> Floats:
    return np.asarray(weights @ (predicted.argmax(axis=1) == y) / weights.sum(axis=1))


def _log_loss(y: NDArray[Any], predicted: Floats, weights: Floats) -> Floats:
    smallest = np.finfo(np.float64).eps
    likelihood = np.clip(predicted[np.arange(len(y)), y], smallest, 1 - smallest)
    return np.asarray(weights @ -np.log(likelihood) / weights.sum(axis=1))


def _f1(classes: list[int], y: NDArray[Any], predicted: Floats, weights: Floats) -> Floats:
    """F1 of the positive class, or its mean over the classes that occur or are predicted."""
    said = predicted.argmax(axis=1)
    total = np.zeros(len(weights))
    occur = np.zeros(len(weights))
    for one in classes:
        both = weights @ ((y == one) & (said == one))
        either = weights @ ((y == one).astype(np.float64) + (said == one))
        total += np.where(either > 0, 2 * both / np.maximum(either, 1), 0)
        occur += either > 0
    return total / np.maximum(occur, 1)


def _rmse(y: NDArray[Any], predicted: Floats, weights: Floats) -> Floats:
    return np.asarray(np.sqrt(weights @ (y - predicted) ** 2 / weights.sum(axis=1)))


def _mae(y: NDArray[Any], predicted: Floats, weights: Floats) -> Floats:
    return np.asarray(weights @ np.abs(y - predicted) / weights.sum(axis=1))


def _r2(y: NDArray[Any], predicted: Floats, weights: Floats) -> Floats:
    mean = weights @ y / weights.sum(axis=1)
    spread = weights @ (y - y.mean()) ** 2 - weights.sum(axis=1) * (mean - y.mean()) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1 - weights @ (y - predicted) ** 2 / spread)

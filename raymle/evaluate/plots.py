"""The charts of one model's predictions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raymle.evaluate.backtest import backtest
from raymle.evaluate.canvas import BLUE, COLOURS, INK, PALE, PANEL, RED, Chart, legend, panels_of, png, short
from raymle.evaluate.judged import Judged
from raymle.evaluate.numbers import Row, by_bin, counts_by_threshold, curves, merged
from raymle.evaluate.scores import scores
from raymle.records import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 10

Span = tuple[float, float]


def charts(judged: Judged, history: Sequence[Epoch], metric: str) -> list[Chart]:
    """Draw everything that fits the task, the most telling first."""
    found = [learning(history, metric)] if history else []
    if not len(judged.y):
        return found
    if judged.schema.task == "regression":
        over_time = [backtest(judged)] if judged.times is not None and judged.baselines else []
        return [*found, *over_time, predicted_vs_true(judged), residuals(judged)]
    last = scores(judged) if judged.schema.anomaly else calibration(judged)
    return [*found, confusion(judged), ranking(judged), last]


def learning(history: Sequence[Epoch], metric: str) -> Chart:
    """Draw loss and the deciding metric over the epochs, the best one marked."""
    from matplotlib.ticker import MaxNLocator

    epochs = [epoch.epoch for epoch in history]
    best = max((epoch.epoch for epoch in history if epoch.best), default=None)
    panels = panels_of(2)
    for axes, names in zip(panels, (("train_loss", "validation_loss"), (metric,)), strict=True):
        for name, colour in zip(names, COLOURS, strict=False):
            values = [epoch.metrics.get(name, np.nan) for epoch in history]
            if np.isfinite(values).any():
                axes.plot(epochs, values, color=colour, marker="o", markersize=3.5, label=name)
        if best is not None:
            axes.axvline(best, color=INK, linewidth=1, linestyle=":", label=f"best epoch, {best}")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend(axes)
    panels[0].set_title("Loss")
    panels[1].set_title(f"Validation {metric}")
    measured = sorted({name for epoch in history for name in epoch.metrics})
    return Chart(
        "learning",
        "Learning curves",
        f"Loss and {metric} over {len(history)} epochs" + (f"; the best is epoch {best}." if best else "."),
        png(panels[0]),
        ("epoch", *measured),
        [(epoch.epoch, *(epoch.metrics.get(name) for name in measured)) for epoch in history],
    )


def confusion(judged: Judged) -> Chart:
    """Draw how often each class was taken for each, in rows and as shares of the true class."""
    counts, names = merged(judged)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    panels = panels_of(2, height=PANEL[1] if len(names) <= 6 else 5.2)
    for axes, matrix, form in zip(panels, (counts, shares), ("{:,.0f}", "{:.0%}"), strict=True):
        axes.imshow(matrix / max(matrix.max(), 1e-9), cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
        for (row, column), value in np.ndenumerate(matrix):
            dark = value > matrix.max() * 0.6
            colour, size = ("white" if dark else INK), (10 if len(names) < 6 else 7)
            text = form.format(value)
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)
        labels = [short(name) for name in names]
        axes.set_xticks(range(len(names)), labels, rotation=0 if len(names) <= 4 else 45)
        axes.set_yticks(range(len(names)), labels)
        axes.set_xlabel("predicted")
        axes.grid(visible=False)
        axes.tick_params(length=0)
    panels[0].set_ylabel("true")
    panels[0].set_title("Rows")
    panels[1].set_title("Share of the true class")
    right = np.trace(counts) / max(counts.sum(), 1)
    return Chart(
        "confusion",
        "Confusion matrix",
        f"True against predicted class; {right:.1%} of the rows are on the diagonal.",
        png(panels[0]),
        ("true \\ predicted", *names),
        [(name, *(int(count) for count in row)) for name, row in zip(names, counts, strict=True)],
    )


def ranking(judged: Judged) -> Chart:
    """Draw ROC and precision over recall, for the positive class or for the most frequent ones."""
    panels = panels_of(2)
    panels[0].plot([0, 1], [0, 1], color=PALE, linestyle="--", label="chance")
    table: list[Row] = []
    for place, colour in zip(curves(judged), COLOURS, strict=False):
        name = short(judged.schema.classes[place])
        hit = judged.y == place
        if hit.all() or not hit.any():
            continue
        threshold, found, wrong = counts_by_threshold(hit, judged.predicted[:, place])
        recall, fall_out, precision = found / hit.sum(), wrong / (~hit).sum(), found / (found + wrong)
        panels[0].plot(np.append(0, fall_out), np.append(0, recall), color=colour, label=name)
        panels[1].plot(recall, precision, color=colour, label=name)
        panels[1].axhline(hit.mean(), color=colour, linewidth=1, linestyle=":")
        columns = [curve[:: max(len(recall) // 20, 1)] for curve in (threshold, recall, fall_out, precision)]
        table += [(name, *values) for values in zip(*columns, strict=True)]
    panels[0].set(title="ROC", xlabel="false positive rate", ylabel="recall")
    panels[1].set(title="Precision and recall", xlabel="recall", ylabel="precision")
    for axes in panels:
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        legend(axes, loc="lower right" if axes is panels[0] else "best")
    return Chart(
        "roc_pr",
        "ROC, precision and recall",
        "How the rates move with the threshold; dotted lines are each class's share of the rows.",
        png(panels[0]),
        ("class", "threshold", "recall", "false positive rate", "precision"),
        table,
    )


def calibration(judged: Judged) -> Chart:
    """Draw how often what was predicted with some probability came true."""
    positive = judged.positive
    said = judged.predicted.max(axis=1) if positive is None else judged.predicted[:, positive]
    true = judged.said == judged.y if positive is None else judged.y == positive
    what = "the predicted class" if positive is None else str(judged.schema.classes[positive])
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    rows = np.bincount(place, minlength=BINS)
    some = rows > 0
    mean, share = (np.bincount(place, weights=values, minlength=BINS)[some] / rows[some] for values in (said, true))
    error = float((rows[some] * np.abs(mean - share)).sum() / rows.sum())
    panels = panels_of(2)
    panels[0].plot([0, 1], [0, 1], color=PALE, linestyle="--", label="perfect")
    panels[0].plot(mean, share, color=BLUE, marker="o", markersize=4, label=f"calibration error {error:.3f}")
    panels[0].set(title="Calibration", xlabel="predicted probability", ylabel="share that came true")
    panels[0].set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    legend(panels[0])
    panels[1].bar((np.arange(BINS) + 0.5) / BINS, rows, width=0.9 / BINS, color=BLUE)
    panels[1].set(title="Rows by predicted probability", xlabel="predicted probability", ylabel="rows")
    table = [
        (f"{first / BINS:.1f} to {(first + 1) / BINS:.1f}", int(rows[first]), *values)
        for first, values in zip(np.flatnonzero(some), zip(mean, share, strict=True), strict=True)
    ]
    return Chart(
        "calibration",
        f"Calibration of {what}",
        f"Predicted probability against what came true; the mean distance is {error:.3f}.",
        png(panels[0]),
        ("probability", "rows", "mean predicted", "share true"),
        table,
    )


def predicted_vs_true(judged: Judged) -> Chart:
    """Draw predictions over true values, as densities, so that a million rows stay readable."""
    y, predicted = judged.y, judged.predicted
    low, high = np.percentile(np.concatenate([y, predicted]), [0.1, 99.9])
    panels = panels_of(1, width=5.4, height=4.4)
    _density(panels[0], (y, predicted), (low, high), (low, high))
    panels[0].plot([low, high], [low, high], color=RED, linewidth=1.2, linestyle="--", label="perfect")
    panels[0].set(title="Predicted and true values", xlabel="true", ylabel="predicted")
    legend(panels[0], loc="upper left")
    edges = np.unique(np.quantile(y, np.linspace(0, 1, BINS + 1)))
    return Chart(
        "predicted_vs_true",
        "Predicted and true values",
        "Predictions over true values; a perfect model stays on the dashed line.",
        png(panels[0]),
        ("true value", "rows", "mean true", "mean predicted"),
        by_bin(y, edges, (y, predicted)),
    )


def residuals(judged: Judged) -> Chart:
    """Draw what is left over: over the prediction, and as a distribution."""
    predicted = judged.predicted
    left = judged.y - predicted
    low, high = np.percentile(left, [0.5, 99.5])
    panels = panels_of(2)
    ends = np.percentile(predicted, [0.1, 99.9])
    _density(panels[0], (predicted, left), (ends[0], ends[1]), (low, high))
    panels[0].axhline(0, color=RED, linewidth=1.2, linestyle="--")
    panels[0].set(title="Residual over prediction", xlabel="predicted", ylabel="true minus predicted")
    panels[1].hist(left, bins=40, range=_wide(low, high), color=BLUE)
    panels[1].axvline(0, color=RED, linewidth=1.2, linestyle="--")
    panels[1].set(title="Distribution of residuals", xlabel="true minus predicted", ylabel="rows")
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, BINS + 1)))
    return Chart(
        "residuals",
        "Residuals",
        f"True minus predicted: median {np.median(left):.4g}, 99 % between {low:.4g} and {high:.4g}.",
        png(panels[0]),
        ("predicted", "rows", "mean residual", "mean absolute residual"),
        by_bin(predicted, edges, (left, np.abs(left))),
    )


def _density(axes: "Axes", points: tuple[NDArray[Any], NDArray[Any]], across: Span, up: Span) -> None:
    across, up = _wide(*across), _wide(*up)
    counts, _, _ = np.histogram2d(*points, bins=60, range=[across, up])
    shown = np.where(counts > 0, np.log1p(counts), np.nan).T
    axes.imshow(
        shown,
        origin="lower",
        extent=(*across, *up),
        aspect="auto",
        cmap="Blues",
        vmin=-0.6 * np.log1p(counts.max()),
    )
    axes.grid(visible=False)


def _wide(low: float, high: float) -> Span:
    size = max(abs(low), abs(high))
    if high - low > size * 1e-12:
        return float(low), float(high)
    half = size / 2 or 0.5  # all values are one: put it in the middle
    return float(low - half), float(low + half)

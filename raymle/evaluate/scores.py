"""The chart of anomalies: how far their scores lie from those of what is usual, and what another threshold would do."""

import numpy as np
from numpy.typing import NDArray

from raymle.evaluate.canvas import BLUE, INK, PALE, RED, Chart, legend, panels_of, png, short
from raymle.evaluate.judged import Judged
from raymle.evaluate.numbers import counts_by_threshold

BINS = 40
LEAST = 1e-12


def scores(judged: Judged) -> Chart:
    """Draw the scores of either class, 0 being the threshold, and precision and recall over thresholds."""
    odd = judged.y == 1
    found = distances(judged)
    panels = panels_of(2)
    edges = np.linspace(found.min(), found.max() + LEAST, BINS + 1).tolist()
    usual, anomaly = judged.schema.classes
    for rows, colour, name in ((~odd, PALE, usual), (odd, RED, anomaly)):
        if rows.any():
            weights = np.full(int(rows.sum()), 1 / rows.sum())
            panels[0].hist(
                found[rows], edges, weights=weights, color=colour, alpha=0.8, label=f" {short(name)}, {rows.sum():,}"
            )
    panels[0].set(title="Scores", xlabel="above the threshold, in deviations of what is usual", ylabel="share of rows")
    thresholds, hits, misses = counts_by_threshold(odd, found)
    precision, recall = hits / (hits + misses), hits / max(1, odd.sum())
    for values, colour, name in ((precision, BLUE, "precision"), (recall, INK, "recall")):
        panels[1].plot(thresholds, values, color=colour, linewidth=1.2, label=name)
    panels[1].set(title="With another threshold", xlabel="threshold", ylim=(-0.02, 1.02))
    for axes, where in zip(panels, ("best", "center left"), strict=True):
        axes.axvline(0, color=INK, linewidth=1, linestyle=":", label="threshold")
        legend(axes, where)
    places = np.unique(np.linspace(0, len(thresholds) - 1, min(BINS, len(thresholds))).astype(int))
    return Chart(
        "scores",
        f"Scores of {anomaly}",
        f"{(found > 0).sum():,} of {len(found):,} rows are above the threshold; {(odd & (found > 0)).sum():,} of "
        f"{odd.sum():,} anomalies are.",
        png(panels[0]),
        ("threshold", "rows above", "precision", "recall"),
        [
            (float(thresholds[each]), int(hits[each] + misses[each]), float(precision[each]), float(recall[each]))
            for each in places
        ],
    )


def distances(judged: Judged) -> NDArray[np.float64]:
    """Return how far each row's score is above the threshold: the logit of its probability."""
    chance = np.clip(judged.predicted[:, 1], LEAST, 1 - LEAST)
    return np.asarray(np.log(chance) - np.log1p(-chance))

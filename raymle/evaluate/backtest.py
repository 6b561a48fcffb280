"""The chart of a forecast: how it does as the origin rolls through the time that it is judged on.

The model is trained once, before all of it; each part asks the same model about later moments.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raymle.evaluate.baselines import LAST, SEASONAL, SKILL, folds
from raymle.evaluate.canvas import BLUE, INK, PALE, Chart, legend, panels_of, png
from raymle.evaluate.judged import Judged

SHOWN = 168
"""Moments of the first series that are drawn."""


def backtest(judged: Judged) -> Chart:
    """Draw the error of the model and of the baselines in each part of the time, and some forecasts."""
    assert judged.times is not None
    found = folds(judged.y, judged.predicted, judged.baselines, judged.times)
    panels = panels_of(2)
    places = np.arange(len(found))
    for shift, (name, label, colour) in enumerate(
        [("mae", "model", BLUE), (f"{SEASONAL}_mae", "seasonal naive", INK), (f"{LAST}_mae", "last value", PALE)]
    ):
        values = [fold.metrics[name] for fold in found]
        panels[0].bar(places + 0.27 * (shift - 1), values, width=0.25, color=colour, label=label)
    panels[0].set_xticks(places, [shown(fold.first)[:10] for fold in found])
    panels[0].set(title="Mean absolute error over time", xlabel="from")
    legend(panels[0])
    rows, several = first_series(judged)
    panels[1].plot(judged.y[rows], color=INK, linewidth=1.2, label="true")
    panels[1].plot(judged.predicted[rows], color=BLUE, linewidth=1.2, label="forecast")
    title = f"The last {len(rows)} moments{' of the first series' if several else ''}"
    panels[1].set(title=title, xlabel="in the order of time")
    legend(panels[1])
    skills = [fold.metrics[SKILL] for fold in found if SKILL in fold.metrics]
    beaten = sum(skill > 0 for skill in skills)
    return Chart(
        "backtest",
        "Backtest by rolling origin",
        f"Errors in {len(found)} parts of the time, one after the other; seasonal naive is beaten in {beaten}.",
        png(panels[0]),
        ("from", "to", "rows", "mae", "rmse", "seasonal naive mae", "last value mae", "skill"),
        [
            (shown(fold.first), shown(fold.last), fold.rows, *(fold.metrics.get(name) for name in
             ("mae", "rmse", f"{SEASONAL}_mae", f"{LAST}_mae", SKILL)))
            for fold in found
        ],
    )  # fmt: skip


def first_series(judged: Judged) -> tuple[NDArray[np.int64], bool]:
    """Return the last rows of one series in the order of time, and whether there are others."""
    assert judged.times is not None
    rows = np.argsort(judged.times, kind="stable")
    if judged.lines is not None:
        rows = rows[judged.lines[rows] == judged.lines.min()]
    return rows[-SHOWN:], len(rows) < len(judged.times)


def shown(time: Any) -> str:
    """Write a moment: microseconds as a date and time."""
    if isinstance(time, np.integer):
        return str(time.astype("datetime64[us]").astype("datetime64[m]")).replace("T", " ")
    return f"{time:g}"

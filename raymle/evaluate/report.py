"""One HTML page that says how good a model is, with everything in it: no network, no script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, final

import yaml

from raymle import page
from raymle.config import ModelConfig
from raymle.evaluate import gallery
from raymle.evaluate.baselines import LAST, SEASONAL
from raymle.evaluate.canvas import Chart
from raymle.evaluate.gallery import Pictures
from raymle.evaluate.judged import Evaluated, Judged
from raymle.evaluate.numbers import confusion_counts
from raymle.evaluate.plots import charts
from raymle.evaluate.quotes import Quotes
from raymle.records import Epoch, Splits
from raymle.store import write_durably

MOST_ROWS = 200
MOST_DRIFT = 20
SECTIONS = ("name", "data", "split", "model", "train", "evaluate")


@final
@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the page tells beside the numbers."""

    title: str
    side: str
    """Which rows were measured: validation, or the user's own data."""
    model: ModelConfig
    splits: Splits | None = None
    history: tuple[Epoch, ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)
    pictures: Pictures | None = None
    """The images that were judged, if they may be shown: sealed ones never are."""
    quotes: Sequence[Quotes] = ()
    """Texts that were judged, if they may be shown: sealed ones never are."""


def write(out: Path, facts: Facts, judged: Judged, measured: Evaluated, *, metric: str) -> Path:
    """Write ``plots/*.png`` and ``report.html`` into a folder and return the page.

    Args:
        out: The run's folder.
        facts: What the page tells beside the numbers.
        judged: Predictions and truth.
        measured: What they come to.
        metric: The metric that decides.
    """
    drawn = [*charts(judged, facts.history, metric), *gallery.charts(judged, facts.pictures)]
    (out / "plots").mkdir(parents=True, exist_ok=True)
    for chart in drawn:
        (out / "plots" / f"{chart.name}.png").write_bytes(chart.png)
    path = out / "report.html"
    write_durably(path, render(facts, judged, measured, drawn, metric=metric).encode())
    return path


def render(facts: Facts, judged: Judged, measured: Evaluated, drawn: list[Chart], *, metric: str) -> str:
    """Fill the page; whatever a data set or a spec says is text in it, never markup."""
    return page.fill(
        files("raymle.evaluate").joinpath("report.html.j2").read_text("utf-8"),
        facts=facts,
        schema=judged.schema,
        positive=judged.schema.classes[judged.positive] if judged.positive is not None else None,
        metric=metric,
        metrics=sorted(measured.metrics.items(), key=lambda item: (item[0] != metric, item[0])),
        intervals=measured.intervals,
        rows=measured.rows,
        charts=[(chart, chart.rows[:MOST_ROWS]) for chart in drawn],
        baselines=beside(measured.metrics),
        classes=per_class(judged)[:MOST_ROWS],
        drift=drift(facts.splits),
        spec=_yaml(facts.spec),
    )


def beside(found: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """Put the errors of the baselines under those of the model; nothing where there are none."""
    rows = (("the model", ""), ("seasonal naive", f"{SEASONAL}_"), ("last value", f"{LAST}_"))
    if f"{LAST}_mae" not in found:
        return []
    return [(name, found[f"{start}mae"], found[f"{start}rmse"]) for name, start in rows]


def per_class(judged: Judged) -> list[tuple[str, float, float, float, int]]:
    """Precision, recall, F1 and rows of each class."""
    if judged.schema.task == "regression" or not len(judged.y):
        return []
    counts = confusion_counts(judged.y, judged.said, len(judged.schema.classes))
    right, said, true = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    f1 = [_share(2 * both, either) for both, either in zip(right, said + true, strict=True)]
    return [
        (name, _share(right[i], said[i]), _share(right[i], true[i]), f1[i], int(true[i]))
        for i, name in enumerate(judged.schema.classes)
    ]


def drift(splits: Splits | None) -> list[tuple[str, str, float, float, float]]:
    """List how far the splits' columns are from train's, the farthest first."""
    found = sorted(splits.distribution if splits else (), key=lambda one: -one.psi)[:MOST_DRIFT]
    return [(one.column, one.split, one.psi, one.statistic, one.p_value) for one in found]


def _yaml(spec: Mapping[str, Any]) -> str:
    """Write what made the model; addresses, which may hold a password, are not shown."""
    shown = {name: spec[name] for name in SECTIONS if name in spec}
    return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True) if shown else ""


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0

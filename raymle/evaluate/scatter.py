"""The trade-off in one picture: quality against latency, memory as size, what nobody beats joined."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from raymle.evaluate.canvas import BLUE, INK, PALE, Chart, any_script, panels_of, png
from raymle.evaluate.compare import Comparison, Row
from raymle.evaluate.labels import Box, places
from raymle.evaluate.tables import numbers, short
from raymle.measure.metrics import higher_is_better

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 7.6, 5.0
LARGEST, SMALLEST = 900.0, 40.0
"""Areas of the largest dot and the smallest, in square points."""
MOST_LABEL = 28
FAR = 18
"""Pixels from which on a line leads from a label to its dot."""


def chart(comparison: Comparison) -> Chart:
    """Draw every model by its latency and quality, with the interval; dots are as large as the memory."""
    rows, metric = comparison.rows, comparison.metric
    (axes,) = panels_of(1, width=WIDTH, height=HEIGHT)
    front = in_the_picture(rows, metric)
    axes.plot([row.latency_ms for row in front], [row.quality for row in front], color=BLUE, linewidth=1.2, zorder=1)
    areas = _areas([row.memory_mb for row in rows])
    for row, area in zip(rows, areas, strict=True):
        _draw(axes, row, area)
    _scale(axes, rows)
    axes.set(xlabel="latency of one row, median, ms (log scale)", ylabel=f"validation {metric}")
    axes.set_title(f"{metric} against latency", fontsize=11)
    _explain(axes, rows)
    with any_script():
        _label(axes, rows, areas)
    best = front[-1]
    alt = (
        f"{metric} against the latency of one row for {len(rows)} models; the best, {best.name or best.model}, "
        f"has {best.quality:.4g} at {short(best.latency_ms)} ms."
    )
    told = numbers(comparison)
    return Chart("tradeoff", "Quality against latency", alt, png(axes), told.head, list(told.rows))


def in_the_picture(rows: Sequence[Row], metric: str) -> list[Row]:
    """Return the rows that no other beats in both latency and quality, the fastest first."""
    sign = 1 if higher_is_better(metric) else -1
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.latency_ms, -sign * row.quality)):
        if not found or sign * row.quality > sign * found[-1].quality:
            found.append(row)
    return found


def _areas(memory: Sequence[float]) -> list[float]:
    """Return each dot's area, in proportion to memory; the smallest are still to be seen."""
    return [max(SMALLEST, LARGEST * value / max(memory)) for value in memory]


def _draw(axes: "Axes", row: Row, area: float) -> None:
    if row.interval:
        below_and_above = [[max(0.0, row.quality - row.interval[0])], [max(0.0, row.interval[1] - row.quality)]]
        axes.errorbar(
            row.latency_ms, row.quality, yerr=below_and_above, color=PALE, ecolor="#8b95a1", elinewidth=1.2,
            capsize=4, zorder=2,
        )  # fmt: skip
    fill = BLUE if row.pareto else "white"
    axes.scatter(row.latency_ms, row.quality, s=area, facecolor=fill, edgecolor=BLUE, linewidth=1.4, zorder=3)


def _scale(axes: "Axes", rows: Sequence[Row]) -> None:
    """Give the latencies a log scale with plain numbers, and room for dots and labels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = min(row.latency_ms for row in rows), max(row.latency_ms for row in rows)
    room = max(1.25, (high / low) ** 0.18)
    axes.set_xscale("log")
    axes.set_xlim(low / room, high * room)
    narrow = high / low * room**2 < 12
    steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if narrow else (1, 2, 5)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.18)


def _explain(axes: "Axes", rows: Sequence[Row]) -> None:
    """Say what dots and line mean."""
    from matplotlib.lines import Line2D

    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "markeredgecolor": BLUE}
    handles = {
        f"area: memory, at most {short(max(row.memory_mb for row in rows))} MB": Line2D(
            [], [], **dot, markersize=10, markerfacecolor="white"
        ),
        "filled: on the Pareto front": Line2D([], [], **dot, markersize=10, markerfacecolor=BLUE),
        "line: beaten by nothing in this picture": Line2D([], [], color=BLUE, linewidth=1.2),
    }
    axes.legend(
        list(handles.values()), list(handles), loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, frameon=False,
        fontsize=8.5,
    )  # fmt: skip


def _label(axes: "Axes", rows: Sequence[Row], areas: Sequence[float]) -> None:
    """Write the models' names where they cover neither dots nor intervals nor each other; a line leads to far ones."""
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.tight_layout()
    figure.canvas.draw()
    halo = [withStroke(linewidth=2.5, foreground="white")]
    names = [_cut(row.name or row.model) for row in rows]
    texts = [axes.text(0, 0, name, fontsize=9, color=INK, zorder=4, path_effects=halo) for name in names]
    points = axes.transData.transform([(row.latency_ms, row.quality) for row in rows])
    pixels = figure.dpi / 72
    radii = [np.sqrt(area / np.pi) * pixels for area in areas]
    dots = [Box(x - radius, y - radius, x + radius, y + radius) for (x, y), radius in zip(points, radii, strict=True)]
    extents = [text.get_window_extent() for text in texts]
    frame = axes.get_window_extent()
    bounds = Box(frame.x0, frame.y0, frame.x1, frame.y1)
    corners = places(dots, [(each.width, each.height) for each in extents], bounds, also=_intervals(axes, rows))
    to_data = axes.transData.inverted().transform
    for text, corner, size, point, radius in zip(texts, corners, extents, points, radii, strict=True):
        text.set_position(tuple(to_data(corner)))
        near = np.clip(point, corner, (corner[0] + size.width, corner[1] + size.height))
        if np.hypot(*(near - point)) > radius + FAR:
            axes.plot(*to_data([point, near]).T, color="#8b95a1", linewidth=0.7, zorder=1.5)


def _intervals(axes: "Axes", rows: Sequence[Row]) -> list[Box]:
    """Return what the intervals cover, in pixels."""
    ends = [(row.latency_ms, each) for row in rows if row.interval for each in row.interval]
    points = axes.transData.transform(ends) if ends else np.empty((0, 2))
    return [Box(x - 5, low, x + 5, high) for (x, low), (_, high) in zip(points[::2], points[1::2], strict=True)]


def _cut(name: str) -> str:
    """Cut a name to what fits the picture; a dollar sign would start a formula."""
    return (name if len(name) <= MOST_LABEL else f"{name[: MOST_LABEL - 1]}…").replace("$", r"\$")

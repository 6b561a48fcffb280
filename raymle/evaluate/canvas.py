"""What all charts share: colours, empty panels, and a picture's bytes.

matplotlib's Figure and Agg canvas only: no pyplot, no global state. The colours are Okabe and Ito's, which
colour-blind readers can tell apart.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from raymle.evaluate.numbers import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, RED, GREEN, INK, PALE = "#0072B2", "#D55E00", "#009E73", "#22262b", "#c9ced6"
COLOURS = (BLUE, RED, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#8c6d1f", INK)
PANEL = (4.6, 3.6)
DPI = 110


@final
@dataclass(frozen=True)
class Chart:
    """One picture, and the table behind it."""

    name: str
    title: str
    alt: str
    png: bytes
    header: Row
    rows: list[Row]


def short(name: str) -> str:
    """Cut a name to what fits an axis; a dollar sign would start a formula."""
    return (name if len(name) <= 18 else f"{name[:17]}…").replace("$", r"\$")


def panels_of(count: int, *, width: float = PANEL[0], height: float = PANEL[1]) -> "list[Axes]":
    """Return empty panels beside each other; width and height in inches are each one's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, height), dpi=DPI, facecolor="white")
    panels: list[Axes] = list(figure.subplots(1, count, squeeze=False)[0])
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(PALE)
        axes.tick_params(labelcolor=INK, labelsize=8.5, color=PALE)
        axes.grid(visible=True, color="#eceef1", linewidth=0.8)
        axes.set_axisbelow(True)
    return panels


def legend(axes: "Axes", loc: Any = "best") -> None:
    """Name what is drawn, if anything has a name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, loc=loc)


@contextmanager
def any_script() -> Iterator[None]:
    """Let names be drawn for the block in scripts that the font lacks, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def png(axes: "Axes") -> bytes:
    """Draw the figure that holds a panel."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    canvas, file = FigureCanvasAgg(figure), io.BytesIO()
    with any_script():
        figure.tight_layout(w_pad=2.5)
        canvas.print_png(file)  # type: ignore[no-untyped-call]  # savefig would draw it twice
    return file.getvalue()

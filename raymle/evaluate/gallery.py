"""Pictures of what a model said of images: a grid of predictions, and its worst mistakes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from raymle.data.shards import Arrays
from raymle.evaluate.canvas import BLUE, INK, RED, Chart, panels_of, png, short
from raymle.evaluate.judged import Judged
from raymle.evaluate.numbers import Row
from raymle.records import ImageInput, Inputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS, DOWN = 8, 4
SEED = 0


@final
@dataclass(frozen=True)
class Pictures:
    """One column's images of the rows that were judged."""

    image: ImageInput
    pixels: NDArray[np.uint8]
    """``[n, channels * height * width]``"""

    def at(self, row: int) -> NDArray[np.uint8]:
        """Return a row's image as ``[height, width, 3]``."""
        shape = (self.image.channels, self.image.height, self.image.width)
        found = np.asarray(self.pixels[row]).reshape(shape).transpose(1, 2, 0)
        return np.repeat(found, 3 // self.image.channels, axis=2)


def pictures(inputs: Inputs, arrays: Arrays) -> Pictures | None:
    """Return the images of a side's first column of images; None where there is none."""
    if not inputs.images or arrays.pixels is None:
        return None
    first = inputs.images[0]
    return Pictures(first, arrays.pixels[:, : first.size])


def charts(judged: Judged, seen: Pictures | None) -> list[Chart]:
    """Draw some rows with what was said of them, then those that are farthest from the truth."""
    if seen is None or not len(judged.y):
        return []
    rows = np.random.default_rng(SEED).permutation(len(judged.y))[: ACROSS * DOWN]
    wrong = judged.mistakes[: ACROSS * DOWN]
    found = [_grid("predictions", "Predictions", "Rows drawn at random; wrong ones are red.", judged, seen, rows)]
    if len(wrong):
        text = "The rows that the model was most sure of and wrong about, the worst first."
        if not judged.schema.classes:
            text = "The rows that are farthest from the truth, the farthest first."
        found.append(_grid("mistakes", "Worst mistakes", text, judged, seen, wrong))
    return found


def _grid(  # noqa: PLR0917
    name: str, title: str, alt: str, judged: Judged, seen: Pictures, rows: NDArray[np.int64]
) -> Chart:
    down = -(-len(rows) // ACROSS)
    panels = _cells(down)
    for axes, row in zip(panels, rows, strict=False):
        text, right = _said(judged, int(row))
        axes.imshow(seen.at(int(row)), interpolation="nearest")
        axes.set_title(text, fontsize=8, color=INK if right else RED, pad=3)
        for spine in axes.spines.values():
            spine.set(visible=True, color=BLUE if right else RED, linewidth=1 if right else 2)
    for axes in panels[len(rows) :]:
        axes.set_axis_off()
    table: list[Row] = [(place + 1, *judged.fact(int(row))) for place, row in enumerate(rows)]
    return Chart(name, title, alt, png(panels[0]), ("picture", "true", "predicted", "how sure"), table)


def _cells(down: int) -> "list[Axes]":
    figure = panels_of(1, width=1.15 * ACROSS, height=1.4 * down)[0].get_figure()
    assert figure is not None
    figure.clear()
    cells: list[Axes] = list(figure.subplots(down, ACROSS, squeeze=False).flat)
    for axes in cells:
        axes.set(xticks=[], yticks=[])
    return cells


def _said(judged: Judged, row: int) -> tuple[str, bool]:
    """Return a picture's caption, and whether the model was right."""
    true, said, sure = judged.fact(row)
    if not judged.schema.classes:
        return f"{said:.4g}\ntrue {true:.4g}", True
    if true == said:
        return f"{short(str(said))}\n{sure:.0%}", True
    return f"{short(str(said))} {sure:.0%}\ntrue {short(str(true))}", False

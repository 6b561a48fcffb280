"""Rows as a model takes them: what the transform gives and the network is called with."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from raymle.records import Inputs

PAIRS_AT_ONCE = 1 << 25
"""Pairs of a text's words: that is what attention takes memory for."""
PIXELS_AT_ONCE = 1 << 16
"""Each becomes some hundred bytes inside of a network: with so few they stay in the processor's cache."""


@final
@dataclass(frozen=True)
class Encoded:
    """Inputs of some rows; ``records.Inputs`` says what stands in which columns."""

    numbers: NDArray[np.float32]
    """``[n, a]``: the numbers, then the values of sequences."""
    codes: NDArray[np.int32]
    """``[n, b]``: a code of each category, then the codes of texts."""
    pixels: NDArray[np.uint8] | None = None
    """``[n, c]``: the pixels of images; None where there is no image."""

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, which: Any) -> "Encoded":
        """Return some of the rows: a slice, places or a mask."""
        pixels = None if self.pixels is None else self.pixels[which]
        return Encoded(self.numbers[which], self.codes[which], pixels)


def step_of(rows: int, inputs: Inputs) -> int:
    """Return how many rows a network sees at one time: fewer than these where each has many pixels or words."""
    pairs = sum(text.length**2 for text in inputs.texts)
    return min(rows, PIXELS_AT_ONCE // max(1, inputs.widths[2]) + 1, PAIRS_AT_ONCE // max(1, pairs) + 1)


def together(parts: list[Encoded]) -> Encoded:
    """Put rows under each other; there is at least one part."""
    pixels = [part.pixels for part in parts if part.pixels is not None]
    return Encoded(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.codes for part in parts]),
        np.concatenate(pixels) if pixels else None,
    )

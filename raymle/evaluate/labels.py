"""Places for labels in a picture where they cover nothing. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

TURNS = 16
"""Directions in which a label's place is looked for around its dot."""
GAPS = (6.0, 14.0, 26.0, 42.0, 64.0)
"""Pixels between a dot and its label, the nearest first."""


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: "Box") -> float:
        """Return the area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    def outside(self, other: "Box") -> float:
        """Return the area that the other does not cover."""
        return (self.right - self.left) * (self.top - self.bottom) - self.overlap(other)


def places(
    dots: Sequence[Box], sizes: Sequence[tuple[float, float]], bounds: Box, *, also: Sequence[Box] = ()
) -> list[tuple[float, float]]:
    """Find a place for each dot's label: the lower left corners, in pixels.

    Each label takes the nearest place around its dot that covers no dot and no label placed before; if there is none,
    the one that covers least.

    Args:
        dots: What the dots cover.
        sizes: Width and height of each label.
        bounds: Where labels may be.
        also: What else is not to be covered.
    """
    taken = [*dots, *also]
    found = []
    for dot, (width, height) in zip(dots, sizes, strict=True):
        tried = [Box(x, y, x + width, y + height) for x, y in _around(dot, width, height)]
        costs = [box.outside(bounds) * 4 + sum(box.overlap(each) for each in taken) for box in tried]
        chosen = tried[int(np.argmin(costs))]
        taken.append(chosen)
        found.append((chosen.left, chosen.bottom))
    return found


def _around(dot: Box, width: float, height: float) -> list[tuple[float, float]]:
    """List the corners of a label in all directions from a dot, nearest first, to the right before the left."""
    x, y = (dot.left + dot.right) / 2, (dot.bottom + dot.top) / 2
    across, up = (dot.right - dot.left) / 2, (dot.top - dot.bottom) / 2
    turns = sorted(range(TURNS), key=lambda turn: min(turn, TURNS - turn))
    angles = [2 * np.pi * turn / TURNS for turn in turns]
    return [
        (
            x + np.cos(angle) * (across + gap + width / 2) - width / 2,
            y + np.sin(angle) * (up + gap + height / 2) - height / 2,
        )
        for gap in GAPS
        for angle in angles
    ]

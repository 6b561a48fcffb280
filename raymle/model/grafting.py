"""Parts of a loaded weight in the place where they belong: rows and columns are chosen, scales are changed. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

NEW = -1


class Take(NamedTuple):
    """Where the entries of one axis come from."""

    axis: int
    places: Sequence[int]
    """For each of ours the place of theirs, or NEW."""
    zero: bool = False
    """Whether what is new begins at 0, rather than fresh."""


@final
@dataclass(frozen=True)
class Graft:
    """One weight of ours: the weight of theirs that it is loaded from, and what belongs where in it."""

    source: str | None
    """None: theirs has nothing like it."""
    takes: tuple[Take, ...] = ()
    alters: tuple[Callable[[Tensor], Tensor], ...] = ()
    """What brings their values to our scales, one after another."""

    def wanted(self, ours: Tensor, theirs: Tensor) -> tuple[int, ...]:
        """Return the shape that theirs must have: ours, but for the axes that are chosen from."""
        chosen = {take.axis for take in self.takes}
        return tuple(theirs.shape[axis] if axis in chosen else size for axis, size in enumerate(ours.shape))

    def fits(self, ours: Tensor, theirs: Tensor) -> bool:
        """Whether theirs can be loaded."""
        if ours.ndim != theirs.ndim or self.wanted(ours, theirs) != tuple(theirs.shape):
            return False
        return all(max(take.places, default=NEW) < theirs.shape[take.axis] for take in self.takes)

    @property
    def is_partial(self) -> bool:
        """Whether some of it is new."""
        return any(NEW in take.places for take in self.takes)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of theirs belongs in it."""
        return self.source is None or any(set(take.places) == {NEW} for take in self.takes)

    def apply(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return ours with the values of theirs where they belong."""
        for alter in self.alters:
            theirs = alter(theirs.double())
        theirs = theirs.to(ours.dtype)
        if not self.takes:
            return theirs.clone()
        result = ours.clone()
        for take in self.takes:
            new = [place for place, source in enumerate(take.places) if source == NEW]
            if take.zero and new:
                result.index_fill_(take.axis, torch.tensor(new), 0)
        into, out_of = self._places(ours, kept=0), self._places(ours, kept=1)
        result[into] = theirs[out_of]
        return result

    def _places(self, ours: Tensor, *, kept: int) -> tuple[Tensor, ...]:
        """Return the index of all entries that are loaded: in ours, or in theirs when ``kept`` is 1."""
        by_axis = {take.axis: [pair for pair in enumerate(take.places) if pair[1] != NEW] for take in self.takes}
        axes = [
            torch.tensor([pair[kept] for pair in by_axis[axis]], dtype=torch.int64)
            if axis in by_axis
            else torch.arange(size)
            for axis, size in enumerate(ours.shape)
        ]
        return torch.meshgrid(*axes, indexing="ij")

"""Which rows each step of an epoch takes: decided by the table, the seed and the epoch alone.

A table of at most ``train.shuffle_gib`` is shuffled as a whole. A larger one is shuffled in windows, which is known as
block shuffle (CorgiPile: Xu et al., "In-Database Machine Learning with CorgiPile", SIGMOD 2022): contiguous blocks in
random order, several of them a window, and the rows of a window in random order. A window's blocks are read one after
the other; what is gathered at random then is in the system's page cache.

Blocks are places in the files, not in the canonical order: rows that are neighbours there lie anywhere in the files.
So the batches of a large table depend on the order in which its rows arrived, those of a small one do not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from raymle.config.train import TrainConfig
from raymle.data.shards import Arrays

Rows = NDArray[np.int64]
BLOCK_BYTES = 4 << 20
"""A block is long enough to be read at the disk's full speed."""
FEWEST_BLOCKS = 16
"""Blocks of a window, however small it is: one block alone may hold one class alone."""
PAGE_BYTES = 4096


@final
@dataclass(frozen=True)
class Windows:
    """Where blocks and windows end."""

    rows: int
    """Of the table."""
    block: int
    """Rows of each block but the last."""
    blocks: int
    """Blocks of each window but the last."""

    def spans(self, seed: int, epoch: int) -> list[list[range]]:
        """Return the blocks of each window, as rows, in the order of this epoch."""
        count = -(-self.rows // self.block)
        places = (_shuffle(seed, epoch).permutation(count) * self.block).tolist()
        ranges = [range(place, min(place + self.block, self.rows)) for place in places]
        return [ranges[first : first + self.blocks] for first in range(0, count, self.blocks)]


def steps_of(rows: int, config: TrainConfig) -> int:
    """Return how many steps an epoch over so many rows has."""
    return max(1, ceil(rows / config.batch_size))


def batches(train: Arrays, config: TrainConfig, epoch: int, *, steps: int, start: int = 0) -> Iterator[Rows]:
    """Yield the rows of each step of an epoch, from step ``start`` on; every row is in one step.

    The steps are even parts, rather than full batches and a rest, because one row is too few for batch normalisation.
    """
    places = windows(train, int(config.shuffle_gib * 2**30))
    if places is None:
        yield from shuffled(train.order, config.seed, epoch, steps=steps)[start:]
        return
    sizes = [len(train.order) // steps + (step < len(train.order) % steps) for step in range(steps)]
    yield from cut(_windowed(train, places, config.seed, epoch, skip=sum(sizes[:start])), sizes[start:])


def windows(train: Arrays, limit: int) -> Windows | None:
    """Divide a table into windows of at most ``limit`` bytes; None when it needs no more than one.

    The free memory of a machine plays no part, so that a run gives the same batches everywhere.
    """
    total = sum(each.nbytes for each in (*train.arrays, train.order))
    if total <= limit:
        return None
    row = total // len(train.order)
    block = max(1, min(BLOCK_BYTES, limit // FEWEST_BLOCKS) // row)
    return Windows(len(train.order), block, max(1, limit // (block * row)))


def shuffled(order: Rows, seed: int, epoch: int, *, steps: int) -> list[Rows]:
    """Return the steps of a table that is shuffled as a whole, whatever the order of its rows on disk."""
    return np.array_split(np.asarray(order)[_shuffle(seed, epoch).permutation(len(order))], steps)


def cut(parts: Iterator[Rows], sizes: Iterable[int]) -> Iterator[Rows]:
    """Cut a stream of rows anew, into parts of these sizes."""
    rest: Rows = np.empty(0, np.int64)
    for size in sizes:
        rows, rest = rest[:size], rest[size:]
        while len(rows) < size:
            rest = next(parts)
            missing = size - len(rows)
            rows, rest = np.concatenate([rows, rest[:missing]]), rest[missing:]
        yield rows


def _windowed(train: Arrays, places: Windows, seed: int, epoch: int, *, skip: int) -> Iterator[Rows]:
    """Read one window after another, and yield its rows shuffled; the first ``skip`` rows are not there."""
    for number, blocks in enumerate(places.spans(seed, epoch), 1):  # [seed, epoch, 0] would be [seed, epoch] again
        count = sum(map(len, blocks))
        if skip < count:
            rows = np.concatenate([np.arange(block.start, block.stop) for block in blocks])
            _shuffle(seed, epoch, number).shuffle(rows)
            for block in blocks:
                _read(train, block)
            yield rows[skip:]
        skip = max(0, skip - count)


def _read(train: Arrays, block: range) -> None:
    """Bring a block into the page cache: rows gathered at random would be read a page at a time."""
    for array in train.arrays:
        rows: NDArray[Any] = array[block.start : block.stop]
        rows.reshape(-1).view(np.uint8)[::PAGE_BYTES].max(initial=0)


def _shuffle(*entropy: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(entropy))

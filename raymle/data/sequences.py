"""Columns of lists: the same number of standardised values of every row, the last ones; short lists begin with means.

The values of several columns of as many steps can stand side by side: one window of all of them.
"""

from collections.abc import Sequence as Several

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.data.statistics import Lists, flattened
from raymle.records import Record, Schema, SequenceInput

WINDOW = "window"
"""What the windows of a forecast are called together."""
MOST_STEPS = 4096
"""A longer list counts by its last values."""
MOST_DEVIATIONS = 1e4


class Sequence(Record):
    """One input of ``[steps, width]``: a value of each column at every step."""

    column: str
    """What it is called: its only column's name, or ``window``."""
    columns: tuple[str, ...]
    steps: int
    means: tuple[float, ...]
    stds: tuple[float, ...]

    @property
    def input(self) -> SequenceInput:
        """How a network sees it."""
        return SequenceInput(column=self.column, steps=self.steps, width=len(self.columns))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values, step by step; 0 is the last step."""
        ago = range(self.steps - 1, -1, -1)
        return tuple(f"{name}[-{step}]" if step else f"{name}[0]" for step in ago for name in self.columns)


def learn(schema: Schema, found: dict[str, Lists]) -> tuple[Sequence, ...]:
    """Turn what train has into inputs: one a column, or all windows of a forecast as one."""
    names = [column.name for column in schema.features if column.name in found]
    if schema.series and names:
        return (_learned(WINDOW, names, [found[name] for name in names], schema.series.window),)
    return tuple(_learned(name, [name], [found[name]], min(MOST_STEPS, max(1, found[name].longest))) for name in names)


def _learned(column: str, names: Several[str], found: Several[Lists], steps: int) -> Sequence:
    means, stds = tuple(each.moments.mean for each in found), tuple(each.moments.std for each in found)
    return Sequence(column=column, columns=tuple(names), steps=steps, means=means, stds=stds)


def apply(batch: pa.RecordBatch, sequence: Sequence) -> NDArray[np.float32]:
    """Return ``[n, steps * width]``, standardised; what is missing counts as the mean."""
    parts = [
        _scaled(padded(batch.column(name), sequence.steps), mean, std)
        for name, mean, std in zip(sequence.columns, sequence.means, sequence.stds, strict=True)
    ]
    return np.stack(parts, axis=2).reshape(batch.num_rows, -1)


def _scaled(values: NDArray[np.float64], mean: float, std: float) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # infinity is cut off below
        scaled = (values - mean) / std
    scaled[np.isnan(scaled)] = 0
    return np.clip(scaled, -MOST_DEVIATIONS, MOST_DEVIATIONS).astype(np.float32)


def padded(values: pa.Array, steps: int) -> NDArray[np.float64]:
    """Return the last values of every list ``[n, steps]``, NaN for null and before the first."""
    flat = flattened(values)
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    if (lengths == steps).all():
        return flat.reshape(len(values), steps)
    ends = np.cumsum(lengths)
    places = ends[:, None] - np.arange(steps, 0, -1)
    known = places >= (ends - lengths)[:, None]
    return np.where(known, np.append(flat, np.nan)[np.where(known, places, len(flat))], np.nan)


def unscaled(rows: NDArray[np.float32], sequence: Sequence, column: str) -> NDArray[np.float64]:
    """Return a column's values ``[n, steps]`` in its own units, of what ``apply`` gave."""
    place = sequence.columns.index(column)
    values = rows.reshape(len(rows), sequence.steps, len(sequence.columns))[:, :, place].astype(np.float64)
    return values * sequence.stds[place] + sequence.means[place]

"""From moments in order to windows: what is known so many steps before a moment. Pure; nothing here looks ahead.

A row's time is the moment that is forecast. Its window ends ``horizon`` steps before, so no value at that moment or
later is in it, and the side of a split by time on which the moment is has the whole row: a window may reach back over
the border, and no moment that is forecast on a later side is forecast or seen on an earlier one.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from raymle.data import steps
from raymle.data.steps import Step, Times

Floats = NDArray[np.float64]


class Ordered(NamedTuple):
    """Moments by series and time, and how they lead up to each other."""

    times: Times
    groups: NDArray[np.int64]
    """Place of each row's series."""
    run: NDArray[np.int64]
    """How many rows before it are one step after the other, up to it."""
    step: Step


class Chosen(NamedTuple):
    """Windows: the moments that they are for, and the row where each ends."""

    times: Times
    groups: NDArray[np.int64]
    ends: NDArray[np.int64]
    rows: NDArray[np.int64]
    """The row of the moment itself; -1 where the table ends before it."""


def ordered(times: Times, groups: NDArray[np.int64], step: Step) -> Ordered:
    """Look at rows that are sorted by series and time."""
    follows = (groups[1:] == groups[:-1]) & steps.even(times, step) if len(times) else np.zeros(0, bool)
    places = np.arange(len(times))
    starts = np.where(np.concatenate([[True], follows])[: len(times)], -1, places)
    starts[:1] = 0
    return Ordered(times, groups, places - np.maximum.accumulate(starts), step)


def choose(rows: Ordered, known: NDArray[np.bool_], *, window: int, horizon: int, ahead: bool = False) -> Chosen:
    """Choose the moments that have a whole window before them, by time.

    Args:
        rows: The moments.
        known: Which of them have a target.
        window: Steps of a window.
        horizon: Steps from a window's end to its moment.
        ahead: Also the moments after each series' last one, as far as ``horizon``.
    """
    here = np.flatnonzero(rows.run >= window + horizon - 1)
    times, groups, ends, places = rows.times[here], rows.groups[here], here - horizon, here
    if ahead and len(rows.times):
        last = np.flatnonzero(np.append(rows.groups[1:] != rows.groups[:-1], [True]))
        after = np.tile(np.arange(1, horizon + 1), len(last))
        last = np.repeat(last, horizon)
        some = rows.run[last] >= window - 1 + horizon - after
        last, after = last[some], after[some]
        times = np.concatenate([times, steps.later(rows.times[last], rows.step, after)])
        groups = np.concatenate([groups, rows.groups[last]])
        ends, places = np.concatenate([ends, last + after - horizon]), np.concatenate([here, np.full(len(last), -1)])
    unknown = np.concatenate([[0], np.cumsum(~known)])
    whole = unknown[ends + 1] == unknown[ends + 1 - window]
    order = np.lexsort((groups[whole], times[whole]))
    return Chosen(*(each[whole][order] for each in (times, groups, ends, places)))


def table(chosen: Chosen, values: Mapping[str, Floats], window: int) -> dict[str, pa.Array]:
    """Return the windows of each column as lists."""
    return {name: _lists(_back(column, chosen.ends, window)) for name, column in values.items()}


def _back(values: Floats, ends: NDArray[np.int64], window: int) -> Floats:
    if not len(ends):
        return np.empty((0, window))
    return np.asarray(sliding_window_view(values, window)[ends - window + 1])


def _lists(rows: Floats) -> pa.Array:
    offsets = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32) if len(rows) else np.zeros(1, np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(rows).reshape(-1)))


def targets(chosen: Chosen, values: Floats) -> Any:
    """Return the target of each window; NaN where its moment is after the end."""
    return np.where(chosen.rows >= 0, np.append(values, np.nan)[chosen.rows], np.nan)

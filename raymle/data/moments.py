"""Moments as they are read, and what can be wrong with them: told with the series and the row, before any training."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.data.casts import PATTERNS, ZONED, canonical, failing, plain, without_null_words
from raymle.data.steps import Times
from raymle.data.windows import Chosen, Ordered
from raymle.errors import DataError
from raymle.records import Column, Series

SHOWN = 3


@final
@dataclass(frozen=True)
class Moments:
    """A table of moments, in the source's order or sorted by series and time."""

    times: Times
    group: Any
    """The series of each row as text; None where there is only one."""
    numbers: dict[str, NDArray[np.float64]]
    target: str
    rows: NDArray[np.int64] | None = None
    """Where each row is in the source, from 1; None: in its order."""
    was_sorted: bool = True

    @cached_property
    def _encoded(self) -> tuple[tuple[str | None, ...], NDArray[np.int64]]:
        if self.group is None:
            return ("",), np.zeros(len(self.times), np.int64)
        encoded = self.group.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        order = sorted(range(len(words)), key=lambda place: words[place])
        ranks = np.argsort(np.array(order, np.int64))
        return tuple(words[place] for place in order), ranks[encoded.indices.to_numpy(zero_copy_only=False)]

    @property
    def names(self) -> tuple[str | None, ...]:
        """The series, sorted."""
        return self._encoded[0]

    @property
    def codes(self) -> NDArray[np.int64]:
        """Place of each row's series among the names."""
        return self._encoded[1]

    @property
    def is_time(self) -> bool:
        """Whether the moments are timestamps, and not numbers."""
        return bool(np.issubdtype(self.times.dtype, np.integer))

    @property
    def follows(self) -> NDArray[np.bool_]:
        """Which rows come after another of their series, once sorted."""
        return np.concatenate([[False], self.codes[1:] == self.codes[:-1]])[: len(self.times)]

    def where(self, place: int) -> str:
        """Say which row of the source that is."""
        return f"row {place + 1 if self.rows is None else int(self.rows[place]):,}"

    def called(self, code: int) -> str:
        """Say which series that is."""
        return "the series" if self.group is None else f"series {self.names[code]!r}"

    def at(self, place: int) -> str:
        """Say a row's moment."""
        time = self.times[place]
        return str(time.astype("datetime64[us]").astype("datetime64[s]")) if self.is_time else f"{time:g}"

    def sorted(self) -> "Moments":
        """Return the same by series and time."""
        if not len(self.times) or bool(((np.diff(self.codes) > 0) | (self._same & (np.diff(self.times) >= 0))).all()):
            return Moments(self.times, self.group, self.numbers, self.target, np.arange(1, len(self.times) + 1))
        order = np.lexsort((self.times, self.codes))
        numbers = {name: values[order] for name, values in self.numbers.items()}
        group = None if self.group is None else self.group.take(pa.array(order))
        in_time = bool((np.diff(order)[np.diff(self.codes[order]) == 0] > 0).all())
        return Moments(self.times[order], group, numbers, self.target, order + 1, was_sorted=in_time)

    @property
    def _same(self) -> NDArray[np.bool_]:
        return np.asarray(np.diff(self.codes) == 0)


def read_times(values: pa.Array, column: Column) -> Times:
    """Return microseconds, or numbers.

    Raises:
        DataError: a row has no time, one that cannot be read, or a time zone where others have none.
    """
    if pa.types.is_string(plain(values).type):
        _check_text(plain(values), column)
    found = canonical(values, column)
    if found.null_count:
        place = pc.index(found.is_null(), value=True).as_py()
        raise DataError(
            f"time column {column.name!r} is missing in {found.null_count:,} of {len(found):,} rows, "
            f"first in row {place + 1:,}",
            hint="leave those rows out",
        )
    if column.type == "timestamp":
        return np.asarray(found.cast(pa.int64()).to_numpy(zero_copy_only=False))
    return np.asarray(found.to_numpy(zero_copy_only=False))


def _check_text(text: pa.Array, column: Column) -> None:
    known = without_null_words(text)
    bad = next(failing(known, lambda part: canonical_or_raise(part, column)), None)
    if bad is not None:
        raise not_a_time(column.name, bad, known[bad].as_py())
    if column.type != "timestamp":
        return
    zoned = pc.match_substring_regex(known.drop_null(), ZONED)
    if (some := pc.sum(zoned).as_py() or 0) not in {0, len(zoned)}:
        place = pc.index(pc.match_substring_regex(known, ZONED), value=some * 2 < len(zoned)).as_py()
        raise DataError(
            f"time column {column.name!r} names a time zone in {some:,} of {len(text):,} rows and none in the others: "
            f"row {place + 1:,} is {known[place].as_py()!r}",
            hint="give every moment its zone, or none; 2026-01-31T12:00:00Z is UTC",
        )


def canonical_or_raise(values: pa.Array, column: Column) -> pa.Array:
    """Cast as ``canonical`` does, raising Arrow's own error, as a search for the row wants it."""
    try:
        return canonical(values, column)
    except DataError as error:
        raise pa.ArrowInvalid(str(error)) from None


def not_a_time(name: str, place: int, value: Any) -> DataError:
    """Return the error for a row whose time is none."""
    return DataError(
        f"time column {name!r} holds {str(value)[:60]!r} in row {place + 1:,}, which is no moment",
        hint="write moments as 2026-01-31T23:59:59Z",
    )


def first_word(values: pa.Array) -> int | None:
    """Return the first row of a text column that reads as neither a moment nor a number."""
    text = without_null_words(plain(values))
    reads = pc.or_(*(pc.match_substring_regex(text, PATTERNS[kind]) for kind in ("timestamp", "number")))
    place = pc.index(reads, value=False).as_py()
    return None if place < 0 else int(place)


def check(moments: Moments, series: Series, *, labelled: bool) -> Moments:
    """Sort moments, and refuse what no series is made of.

    Raises:
        DataError: there are no rows, two at one moment, one without its series, or one without its target.
    """
    if not len(moments.times):
        raise DataError("the data has no rows")
    if moments.group is not None and moments.group.null_count:
        place = pc.index(moments.group.is_null(), value=True).as_py()
        raise DataError(f"group column {series.group!r} is missing in row {place + 1:,}", hint="leave that row out")
    found = moments.sorted()
    _check_twice(found, series)
    _check_finite(found)
    unknown = np.flatnonzero(np.isnan(found.numbers[found.target]))
    if labelled and len(unknown):
        first = int(unknown[0])
        raise DataError(
            f"target {found.target!r} is missing in {len(unknown):,} of {len(found.times):,} rows, first in "
            f"{found.called(found.codes[first])} at {found.at(first)}, {found.where(first)}",
            hint="leave those rows out: they are a gap then, and no window reaches over one",
        )
    return found


def _check_finite(found: Moments) -> None:
    for name, values in found.numbers.items():
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            first = int(infinite[0])
            raise DataError(
                f"column {name!r} is infinite in {len(infinite):,} of {len(found.times):,} rows, first in "
                f"{found.called(found.codes[first])} at {found.at(first)}, {found.where(first)}",
                hint="replace infinity by null or a large number, or drop the column",
            )


def _check_twice(found: Moments, series: Series) -> None:
    twice = np.flatnonzero(found.follows[1:] & (np.diff(found.times) == 0))
    if len(twice):
        first = int(twice[0])
        rows = f"{found.where(first)} and {found.where(first + 1)}"
        hint = "leave one of them out" if series.group else "data.group names the column that tells series apart"
        raise DataError(
            f"{found.called(found.codes[first])} has two rows at {found.at(first)}: {rows}"
            + (f", and {len(twice) - 1:,} more such" if len(twice) > 1 else ""),
            hint=hint,
        )


def cleared(moments: Moments, rows: Ordered, chosen: Chosen, series: Series) -> tuple[str, ...]:
    """Say what was done about disorder, gaps and short series.

    Raises:
        DataError: there is no window at all.
    """
    told = [] if moments.was_sorted else ["the rows were not in the order of time, and have been sorted"]
    breaks = np.flatnonzero(moments.follows & (rows.run == 0))
    counts = np.bincount(moments.codes, minlength=len(moments.names))
    without = np.flatnonzero(np.bincount(chosen.groups, minlength=len(counts)) == 0)
    if len(without) == len(counts):
        raise _no_window(moments, series, counts, len(breaks))
    if len(breaks):
        told.append(_gaps(moments, rows, breaks))
    if len(without):
        shown = ", ".join(f"{moments.names[code]!r} with {_rows(counts[code])}" for code in without[:SHOWN])
        told.append(f"{len(without):,} series too short for a window are left out: {shown}")
    return tuple(told)


def unknown(moments: Moments, absent: NDArray[np.bool_], windows: int) -> tuple[str, ...]:
    """Say which moments have no value of the target, and how many windows are left out for them."""
    if not windows:
        return ()
    first = int(np.flatnonzero(absent)[0])
    where = f"{moments.called(moments.codes[first])} at {moments.at(first)}, {moments.where(first)}"
    lack = f"{absent.sum():,} row{'s lack' if absent.sum() > 1 else ' lacks'} a value of {moments.target!r}"
    return (f"{lack}, first in {where}; {windows:,} windows that hold it are left out",)


def _gaps(moments: Moments, rows: Ordered, breaks: NDArray[np.int64]) -> str:
    first = int(breaks[0])
    return (
        f"{len(breaks):,} gap{'s' * (len(breaks) > 1)}: {moments.called(moments.codes[first])} goes from "
        f"{moments.at(first - 1)} to {moments.at(first)} in {moments.where(first)}, and a step is {rows.step}; "
        "windows that would reach over a gap are left out"
    )


def _no_window(moments: Moments, series: Series, counts: NDArray[np.int64], breaks: int) -> DataError:
    longest = int(counts.argmax())
    gaps = f" and {breaks:,} gap{'s' * (breaks > 1)}" if breaks else ""
    return DataError(
        f"no series has the even steps of a window of {series.window} and a horizon of {series.horizon}: "
        f"{moments.called(longest)} has {_rows(counts[longest])}{gaps}",
        hint="take a shorter data.series.window, or more rows",
    )


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * int(count != 1)}"

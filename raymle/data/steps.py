"""The step of a series, between one moment and the next, and the season after which it repeats itself."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raymle.config.data import STEP
from raymle.errors import DataError

Times = NDArray[Any]
"""Microseconds since 1970 as int64, or numbers as float64."""
MICROSECONDS = {"s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6, "w": 7 * 86_400 * 10**6}
MONTHS = {"month": 1, "year": 12}
DAY = MICROSECONDS["d"]
DAYS_OF_MONTHS = {1: (28, 31), 3: (89, 92), 12: (365, 366)}
"""A step of so many days is one of so many months."""
MONTH = 28 * DAY
PARTS = {"hour": DAY, "weekday": 7 * DAY, "month": 365 * DAY}
"""Parts of a moment, and after how long they come again."""
REGULAR = 0.5
"""The share of all steps that must be the commonest one."""


class Step(NamedTuple):
    """Time from one moment to the next."""

    size: float
    monthly: bool = False
    """Whether it counts months, and not microseconds."""
    is_time: bool = True
    """Whether moments are timestamps, and not numbers."""

    def __str__(self) -> str:
        if not self.is_time:
            return f"{self.size:g}"
        table = MONTHS if self.monthly else MICROSECONDS
        whole = [(one, unit) for unit, one in table.items() if self.size % one == 0]
        one, unit = max(whole) if whole else (MICROSECONDS["s"], "s")
        return f"{self.size / one:g}{unit}"


def parsed(text: str | float, *, is_time: bool) -> Step:
    """Read what the spec says.

    Raises:
        DataError: it is a time and the moments are numbers, or the other way round.
    """
    match = STEP.match(text) if isinstance(text, str) else None
    if (match is not None) != is_time:
        kind, wanted = ("moments", "15min, 1h, 7d or 1month") if is_time else ("numbers", "a number such as 1")
        raise DataError(f"data.series.step is {text}, and data.time holds {kind}", hint=f"write {wanted}, or auto")
    if match is None:
        return Step(float(text), is_time=False)
    count, unit = int(match[1]), match[2]
    return Step(count * MONTHS[unit], monthly=True) if unit in MONTHS else Step(count * MICROSECONDS[unit])


def commonest(times: Times, follows: NDArray[np.bool_]) -> Step:
    """Return the step that most rows are from the row before; ``follows`` says which rows have one.

    Raises:
        DataError: no row follows another, or no step is common enough to be the step.
    """
    is_time = np.issubdtype(times.dtype, np.integer)
    gaps = np.diff(times)[follows[1:]]
    if not len(gaps):
        raise DataError("no series has two moments", hint="data.group names a column that tells series apart, not rows")
    step = _of_months(gaps) if is_time else None
    if step is None:
        sizes, counts = np.unique(gaps if is_time else np.round(gaps, 9), return_counts=True)
        step = Step(float(sizes[counts.argmax()]), is_time=is_time)
    same = even(times, step)[follows[1:]].mean()
    if same < REGULAR:
        raise DataError(
            f"the moments have no regular step: the commonest, {step}, is that of {same:.0%} of them",
            hint="say data.series.step, or bring the table to even steps before",
        )
    return step


def _of_months(gaps: Times) -> Step | None:
    for months, (least, most) in DAYS_OF_MONTHS.items():
        if np.mean((gaps >= least * DAY) & (gaps <= most * DAY)) > REGULAR and len(np.unique(gaps)) > 1:
            return Step(months, monthly=True)
    return None


def places(times: Times, step: Step) -> NDArray[Any]:
    """Return the times as numbers in which a step is always as long."""
    return times.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) if step.monthly else times


def even(times: Times, step: Step) -> NDArray[np.bool_]:
    """Tell for each row but the first whether it is one step after the row before, ``[n - 1]``."""
    gaps = np.diff(places(times, step))
    return np.asarray(gaps == step.size if step.is_time else np.isclose(gaps, step.size, rtol=1e-6))


def later(times: Times, step: Step, steps: NDArray[np.int64]) -> Times:
    """Return the moments so many steps later; a month's last days that the later month lacks become its last."""
    if not step.monthly:
        return np.asarray(times + steps * (int(step.size) if step.is_time else step.size))
    moments = times.astype("datetime64[us]")
    months = moments.astype("datetime64[M]")
    into = moments - months.astype("datetime64[us]")
    begin = months + (steps * int(step.size)).astype("timedelta64[M]")
    last = (begin + 1).astype("datetime64[us]") - np.timedelta64(1, "D") + into % np.timedelta64(1, "D")
    return np.asarray(np.minimum(begin.astype("datetime64[us]") + into, last).astype(np.int64))


def parts(times: Times, step: Step) -> tuple[str, ...]:
    """Name the parts of a moment that come again, at steps that tell them apart: what never came is no input."""
    if not step.is_time or not len(times):
        return ()
    span, size = times.max() - times.min(), step.size * (MONTH if step.monthly else 1)
    return tuple(name for name, period in PARTS.items() if size < period and span >= 2 * period)


def season(step: Step) -> int:
    """Return how many steps a natural season has: a day of shorter steps, a week of days, a year of longer ones."""
    if not step.is_time:
        return 1
    if step.monthly:
        return int(12 // step.size) if 12 % step.size == 0 else 1
    if step.size < DAY:
        return int(DAY // step.size) if DAY % step.size == 0 else 1
    return {DAY: 7, 7 * DAY: 52}.get(int(step.size), 1)

"""Values of JSON in the canonical Arrow type of their column; what does not fit is a fault that names its row."""

import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from raymle.data.casts import ARROW
from raymle.data.sequences import MOST_STEPS
from raymle.records import Column
from raymle.serve.base64_files import file_of
from raymle.serve.limits import Fault, fault

FLOAT32_MAX = float(np.finfo(np.float32).max)
ABSENT = object()
"""Stands where a row has no such column; null is a value."""
MISSING = "the column is missing; send null when the value is"
NO_TIME = "is not an ISO 8601 time such as 2026-01-31T12:00:00Z"

Convert = Callable[[Any], Any]


def converter(column: Column) -> Convert:
    """Return what turns one value into what Arrow takes for it, or raises ValueError with the reason."""
    if column.type == "sequence":
        return partial(_sequence, steps=column.steps, whole=column.whole)
    return _CONVERT.get(column.type, _text)


def array(values: Sequence[Any], column: Column, faults: list[Fault]) -> pa.Array:
    """Return a column in its Arrow type; a value that does not fit becomes a fault and a null."""
    quick = _at_once(values, column)
    if quick is not None:
        return quick
    convert, good = converter(column), []
    for row, value in enumerate(values):
        try:
            good.append(convert(_present(value)))
        except (ValueError, OverflowError) as error:
            faults.append(fault(row, column.name, str(error)))
            good.append(None)
    return pa.array(good, ARROW[column.type])


def _present(value: Any) -> Any:
    if value is ABSENT:
        raise ValueError(MISSING)
    return value


def _at_once(values: Sequence[Any], column: Column) -> pa.Array | None:
    """Return a column that holds only its own type and nulls; None when a closer look is needed."""
    if not set(map(type, values)) <= _OWN.get(column.type, _WORDS):
        return None
    try:
        if column.type != "number":
            return pa.array(values, ARROW[column.type])
        numbers = np.array(values, dtype=np.float64)  # null becomes NaN, which JSON cannot say
    except (ValueError, OverflowError):
        return None
    return None if (np.abs(numbers) > FLOAT32_MAX).any() else pa.array(numbers, from_pandas=True)


_WORDS = {str, type(None)}
_OWN: dict[str, set[type]] = {
    "number": {int, float, type(None)},
    "boolean": {bool, type(None)},
    "timestamp": {type(None)},
    "image": {type(None)},
    "sequence": set(),
}


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float):
        raise ValueError(f"{_show(value)} is not a number")
    if not abs(value) <= FLOAT32_MAX:
        raise ValueError("the number is beyond 3.4e38")
    return float(value)


def _boolean(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{_show(value)} is not true or false")
    return value


def _text(value: Any) -> str | None:
    """Return the text that training saw for the same value: 7 and 7.0 are both "7"."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{_show(value)} is not a text or a finite number")
    text = str(value)
    if not text.isascii():
        text.encode()  # half a surrogate pair is a ValueError here, not a crash in Arrow
    return text


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{_show(value)} {NO_TIME}")  # noqa: TRY004  one kind of error for a value
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{_show(value)} {NO_TIME}") from None


def _sequence(value: Any, *, steps: int | None, whole: bool) -> list[float | None] | None:
    """Return a list of numbers; of a window there must be all."""
    if value is None and steps is None:
        return None
    if not isinstance(value, list):
        raise ValueError(f"{_show(value)} is not a list of numbers")  # noqa: TRY004  one kind of error for a value
    if steps is not None and len(value) != steps:
        raise ValueError(f"the list has {len(value):,} values, and a window has {steps:,}")
    if steps is None and len(value) > MOST_STEPS:
        raise ValueError(f"the list has {len(value):,} values; {MOST_STEPS:,} are the most")
    if whole and None in value:
        raise ValueError(f"value {value.index(None) + 1} is null, and a window needs every value of this column")
    return [_number(each) for each in value]


def _show(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 1000:
        return "a huge number"
    return json.dumps(value)[:80]


_CONVERT: dict[str, Convert] = {"number": _number, "boolean": _boolean, "timestamp": _moment, "image": file_of}

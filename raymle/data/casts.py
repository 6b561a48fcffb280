"""Values of any stored type in the canonical Arrow type of their column, vectorised."""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from raymle.data import images
from raymle.errors import DataError
from raymle.records import Column

WHOLE = float(2**53)
ARROW: dict[str, pa.DataType] = {
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "category": pa.string(),
    "text": pa.string(),
    "timestamp": pa.timestamp("us", "UTC"),
    "image": pa.binary(),
    "sequence": pa.list_(pa.float64()),
}
PATTERNS = {
    "number": r"^\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf|infinity|nan))\s*$",
    "clock": r"^\s*\d\d?:\d\d(:\d\d(\.\d+)?)?\s*$",
    "timestamp": r"^\s*\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d+)?)?)?)?(Z|[+-]\d\d(:?\d\d)?)?\s*$",
}
OTHER_SPELLINGS = r"\.0+$|^(?i:true|false)$"
"""What may be another spelling of a whole number or a truth value."""
ZONED = r":.*(Z|[+-]\d\d(:?\d\d)?)\s*$"


NULLS = pa.array(pa.csv.ConvertOptions().null_values)
"""Words that a csv means nothing by; they mean nothing in the text of other formats either."""


def arrow(column: Column) -> pa.DataType:
    """Return the canonical Arrow type of a column; of images the length depends on the column."""
    return ARROW[column.type] if column.shape is None else pa.binary(prod(column.shape))


def canonical(values: pa.Array, column: Column) -> pa.Array:
    """Return values in the canonical Arrow type of their column, or raise DataError with the first misfit."""
    try:
        return _cast(values, column)
    except pa.ArrowException:
        example = values[next(misfits(values, column))].as_py()
        kinds = "" if column.type in {"category", "image"} else f", or set data.types: {{{column.name}: category}}"
        raise DataError(
            not_of_type(column.name, column.type, example),
            hint=f"clean the values{kinds}, or drop the column",
        ) from None


def not_of_type(name: str, kind: str, value: Any) -> str:
    """Say that a column holds a value that is not of its type."""
    if kind == "image":
        return f"column {name!r} holds an image that {images.reason(value)}"
    return f"column {name!r} is {kind}, but holds {repr(value)[:80]}"


def misfits(values: pa.Array, column: Column) -> Iterator[int]:
    """Find the rows whose value is not of the column's type."""
    return failing(values, lambda part: _cast(part, column))


def failing(values: pa.Array, cast: Callable[[pa.Array], Any], start: int = 0) -> Iterator[int]:
    """Find the rows whose value a cast refuses, by halving."""
    try:
        cast(values)
    except pa.ArrowException:
        middle = len(values) // 2
        if not middle:
            yield start
            return
        yield from failing(values[:middle], cast, start)
        yield from failing(values[middle:], cast, start + middle)


def every_failing(values: pa.Array, cast: Callable[[pa.Array], Any]) -> NDArray[np.int64]:
    """Find the same rows where there may be many: each different value is tried once."""
    try:
        encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    except pa.ArrowException:  # nested values have no dictionary
        return np.fromiter(failing(values, cast), np.int64)
    refused = np.fromiter(failing(encoded.dictionary, cast), np.int64)
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.isin(codes, refused))


def every_misfit(values: pa.Array, column: Column) -> NDArray[np.int64]:
    """Find every row whose value is not of the column's type."""
    return every_failing(values, lambda part: _cast(part, column))


def _cast(values: pa.Array, column: Column) -> pa.Array:
    if values.null_count == len(values) and not pa.types.is_dictionary(values.type):
        return pa.nulls(len(values), arrow(column))
    if column.type == "image":
        return images.canonical(values, column.shape)
    return _CASTS[column.type](values)


def plain(values: pa.Array) -> pa.Array:
    """Decode dictionaries, and give every kind of text one type."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        return values.cast(pa.string())
    return values


def decoded(table: pa.Table) -> pa.Table:
    """Return a table whose columns are plain values, not codes of a dictionary."""
    fields = [(each.name, each.type.value_type if pa.types.is_dictionary(each.type) else each.type)
              for each in table.schema]  # fmt: skip
    return table.cast(pa.schema(fields))


def _number(values: pa.Array) -> pa.Array:
    values = plain(values)
    if pa.types.is_string(values.type):
        values = _clock_or_number(without_null_words(pc.utf8_trim_whitespace(values)))
    elif pa.types.is_time(values.type) or pa.types.is_duration(values.type):
        return _seconds(values)
    elif pa.types.is_temporal(values.type):
        raise pa.ArrowInvalid("a moment is not a number")
    elif pa.types.is_integer(values.type):
        return values.cast(pa.float64(), safe=False)
    values = values.cast(pa.float64())
    if sum_is_finite(values):
        return values
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)


def without_null_words(text: pa.Array) -> pa.Array:
    """Return text with null for the words that say so."""
    return pc.if_else(pc.is_in(text, NULLS), pa.scalar(None, pa.string()), text)


def _clock_or_number(text: pa.Array) -> pa.Array:
    """Return text with times of day as their seconds, so that it reads as numbers."""
    clocks = pc.fill_null(pc.match_substring_regex(text, PATTERNS["clock"]), fill_value=False)
    if not pc.any(clocks).as_py():
        return text
    padded = pc.replace_substring_regex(text.filter(clocks), r"^(\d):", r"0\1:")
    first_day = pc.binary_join_element_wise("1970-01-01", padded, " ").cast(pa.timestamp("us"))
    return pc.replace_with_mask(text, clocks, _in_seconds(first_day).cast(pa.string()))


def _seconds(values: pa.Array) -> pa.Array:
    """Return times of day or durations as seconds, whatever unit they are stored in."""
    kind = pa.time64("us") if pa.types.is_time(values.type) else pa.duration("us")
    return _in_seconds(values.cast(kind, safe=False))


def _in_seconds(microseconds: pa.Array) -> pa.Array:
    return pc.divide(microseconds.cast(pa.int64()).cast(pa.float64()), 1e6)


def sum_is_finite(values: pa.Array) -> bool:
    """One cheap pass that is false when a NaN or infinity may be there."""
    if not len(values) or values.null_count == len(values):
        return True
    raw = np.frombuffer(values.buffers()[1], np.float64, len(values), values.offset * 8)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(raw.sum()))


def _boolean(values: pa.Array) -> pa.Array:
    values = plain(values)
    if pa.types.is_string(values.type):
        return pc.utf8_trim_whitespace(values).cast(pa.bool_())
    if pa.types.is_boolean(values.type) or pa.types.is_null(values.type):
        return values.cast(pa.bool_())
    numbers = values.cast(pa.float64())
    if pc.any(pc.invert(pc.is_in(numbers, pa.array([0.0, 1.0, None])))).as_py():
        raise pa.ArrowInvalid("neither 0 nor 1")
    return numbers.cast(pa.bool_())


def _words(values: pa.Array) -> pa.Array:
    """Return text of any scalar, the same however it is stored: 7 for 7.0, true for True, 2026-01-31 for midnight."""
    if not pa.types.is_dictionary(values.type):
        values = _as_words(values).dictionary_encode()
    words = _as_words(values.dictionary)
    if not pc.any(pc.match_substring_regex(words, OTHER_SPELLINGS)).as_py():
        return pa.DictionaryArray.from_arrays(values.indices, words)
    words = _one_spelling(words)
    if pc.count_distinct(words, mode="all").as_py() < len(words):
        return words.take(values.indices).dictionary_encode()
    return pa.DictionaryArray.from_arrays(values.indices, words)


def _one_spelling(words: pa.Array) -> pa.Array:
    whole = pc.replace_substring_regex(words, r"^(-?(?:0|[1-9][0-9]*))\.0+$", r"\1")
    folded = pc.utf8_lower(whole)
    return pc.if_else(pc.is_in(folded, pa.array(["true", "false"])), folded, whole)


def _as_words(values: pa.Array) -> pa.Array:
    values = plain(values)
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        text = values.cast(pa.timestamp("us", getattr(values.type, "tz", None)), safe=False).cast(pa.string())
        return pc.replace_substring_regex(text, r"( 00:00:00)?\.0+(Z?)$", r"\2")
    if pa.types.is_nested(values.type) or pa.types.is_binary(values.type):
        raise pa.ArrowInvalid("not a scalar")
    if pa.types.is_floating(values.type):
        values = values.cast(pa.float64())
        whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), WHOLE))
        whole = pc.fill_null(whole, fill_value=False)
        integers = pc.if_else(whole, values, 0.0).cast(pa.int64()).cast(pa.string())
        known = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
        return pc.if_else(whole, integers, known.cast(pa.string()))
    return values.cast(pa.string())


def _timestamp(values: pa.Array) -> pa.Array:
    """Return moments in UTC; what names no zone is UTC already."""
    values = plain(values)
    if pa.types.is_string(values.type):
        values = pc.utf8_trim_whitespace(values)
        zoned = pc.match_substring_regex(values, ZONED)
        nothing = pa.scalar(None, pa.string())
        local = pc.if_else(zoned, nothing, values).cast(pa.timestamp("us"))
        known = pc.if_else(zoned, values, nothing).cast(ARROW["timestamp"])
        return pc.coalesce(known, pc.assume_timezone(local, "UTC"))
    if not pa.types.is_timestamp(values.type) and not pa.types.is_date(values.type):
        raise pa.ArrowInvalid("not a moment")
    if pa.types.is_timestamp(values.type) and values.type.tz:
        return values.cast(ARROW["timestamp"], safe=False)
    return pc.assume_timezone(values.cast(pa.timestamp("us"), safe=False), "UTC")


def is_list(kind: pa.DataType) -> bool:
    """Whether values of a type are lists of numbers."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(check(kind) for check in lists):
        return False
    of = kind.value_type
    return bool(pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_boolean(of) or pa.types.is_null(of))


def _lists(values: pa.Array) -> pa.Array:
    """Return lists of float64, NaN for null; text such as [1, 2.5] or 1;2.5 counts as the list that it spells."""
    values = plain(values)
    if pa.types.is_string(values.type):
        bare = pc.utf8_trim_whitespace(pc.replace_substring_regex(without_null_words(values), r"^\s*\[|\]\s*$", ""))
        return _number_lists(pc.split_pattern_regex(bare, r"\s*[,;\s]\s*"))
    if not is_list(values.type):
        raise pa.ArrowInvalid("not a list of numbers")
    return _number_lists(values.cast(pa.list_(values.type.value_type)))


def _number_lists(values: pa.Array) -> pa.Array:
    numbers = values.flatten()
    if pa.types.is_string(numbers.type):
        numbers = pc.if_else(pc.equal(numbers, ""), pa.scalar(None, pa.string()), numbers)
    numbers = pc.fill_null(numbers.cast(pa.float64()), float("nan"))
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    mask = values.is_null() if values.null_count else None
    return pa.ListArray.from_arrays(offsets, numbers, mask=mask)


_CASTS = {
    "number": _number,
    "boolean": _boolean,
    "category": _words,
    "text": _as_words,
    "timestamp": _timestamp,
    "sequence": _lists,
}


def is_text(kind: pa.DataType) -> bool:
    """Whether values of a stored type are text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))

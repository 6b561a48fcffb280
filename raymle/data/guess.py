"""What type a column seems to have, by how it is stored and, for text, by its values."""

import pyarrow as pa
import pyarrow.compute as pc

from raymle.data import images
from raymle.data.casts import PATTERNS, is_list, is_text
from raymle.records import ColumnType

FEW_VALUES = 20
NESTED = "nested values that are no lists of numbers"
LONG_TEXT = 50
MOSTLY = 0.9
Guess = tuple[ColumnType, str]
"""A type, and why."""


def guess(values: pa.ChunkedArray) -> Guess:
    """Return a column's type by its Arrow type, and for text by its values."""
    kind = values.type
    if is_text(kind) or pa.types.is_null(kind):
        return _guess_text(values.drop_null())
    if pa.types.is_boolean(kind):
        return "boolean", ""
    if is_numeric(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind):
        return "number", ""
    if pa.types.is_temporal(kind):
        return "timestamp", ""
    if images.is_bytes(kind) and _are_images(values):
        return "image", "its values are images"
    if pa.types.is_nested(kind):
        return "sequence", "lists of numbers" if is_list(kind) else NESTED
    return "text", "bytes"


def _are_images(values: pa.ChunkedArray) -> bool:
    known = [bytes(each.as_py()[:64]) for each in values.drop_null()[:FEW_VALUES]]
    return bool(known) and sum(map(images.looks_like, known)) > len(known) / 2


def _guess_text(known: pa.ChunkedArray) -> Guess:
    if not len(known):
        return "category", "no values"
    if pc.all(pc.match_substring_regex(known, PATTERNS["timestamp"])).as_py():
        return "timestamp", "its text reads as moments"
    if pc.mean(pc.utf8_length(known)).as_py() > LONG_TEXT:
        return "text", "long text"
    if pc.all(pc.match_substring_regex(known, PATTERNS["clock"])).as_py():
        return "number", "its text reads as times of day"
    distinct = pc.count_distinct(known).as_py()
    numbers = pc.mean(pc.match_substring_regex(known, PATTERNS["number"]).cast(pa.float64())).as_py()
    if MOSTLY < numbers < 1 and distinct > FEW_VALUES:
        return "number", f"{numbers:.1%} of its values are numbers"
    if len(known) >= FEW_VALUES and distinct > MOSTLY * len(known):
        return "text", f"{distinct:,} different values in {len(known):,} rows"
    return "category", f"{distinct:,} different values"


def is_numeric(kind: pa.DataType) -> bool:
    """Whether values of a stored type are numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))

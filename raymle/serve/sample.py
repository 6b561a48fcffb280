"""What a client may send in each column: its JSON type, examples as training saw them, and what training knew."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from raymle.data import examples
from raymle.data.sequences import MOST_STEPS
from raymle.data.transform import Number, Transform
from raymle.records import Column, Schema
from raymle.serve.values import FLOAT32_MAX

SHOWN_VALUES = 20
LONGEST_SHOWN = 100
DRAWN = 20

_KINDS: dict[str, dict[str, Any]] = {
    "number": {"type": ["number", "null"], "minimum": -FLOAT32_MAX, "maximum": FLOAT32_MAX},
    "boolean": {"type": ["boolean", "null"]},
    "timestamp": {"type": ["string", "null"], "format": "date-time"},
    "text": {"type": ["string", "number", "boolean", "null"], "contentMediaType": "text/plain"},
    "image": {"type": ["string", "null"], "contentEncoding": "base64", "contentMediaType": "image/*"},
}
_TEXT: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
SENTENCE = "A sentence or two, as a person would write them."
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAG0lEQVR4nGNUYIAAJgYGhgMHoAy4CCEGI0w7AGQfAc+W1+r7AAAAAElFTkSuQmCC"
)
"""A PNG of eight by eight pixels."""
_USUAL: dict[str, tuple[Any, ...]] = {
    "number": (1.5,), "boolean": (True,), "timestamp": ("2026-01-31T12:00:00Z",), "text": (SENTENCE,),
    "image": (PICTURE,),
}  # fmt: skip


class Sample(NamedTuple):
    """What a column may hold."""

    kind: dict[str, Any]
    """JSON schema of a value: what is enforced, and no more."""
    examples: tuple[Any, ...]
    """At least one; a category's are what training saw most, others than those are allowed."""
    note: str = ""
    """What training saw."""


def samples(schema: Schema, transform: Transform | None = None) -> dict[str, Sample]:
    """Return a sample for each feature; without a transform the examples are only of the right type."""
    if transform is None:
        return {column.name: Sample(_kind(column), _usual(column)) for column in schema.features}
    drawn = examples.rows(schema, transform, DRAWN)
    numbers = {number.column: number for number in reversed(transform.numbers)}  # a moment's first part is its day
    categories = {each.column: each.values for each in transform.categories}
    texts = {each.column: each for each in transform.texts}

    def sample(column: Column) -> Sample:
        if column.name in texts:
            return Sample(_kind(column), _USUAL["text"], f"its first {texts[column.name].length:,} words count")
        if column.shape is not None:
            channels, height, width = column.shape
            seen = f"{height} x {width} pixels, {'grey' if channels == 1 else 'in colour'}"
            return Sample(_kind(column), _USUAL["image"], f"a png, jpeg, webp, bmp or gif; the model sees {seen}")
        if column.type == "sequence":
            return _list(column, drawn.column(column.name))
        if column.name in categories:
            return _category(column, categories[column.name])
        return _drawn(column, drawn.column(column.name), numbers)

    return {column.name: sample(column) for column in schema.features}


def _kind(column: Column) -> dict[str, Any]:
    if column.type == "sequence":
        size = {"minItems": column.steps, "maxItems": column.steps} if column.steps else {"maxItems": MOST_STEPS}
        number = {**_KINDS["number"], "type": "number"} if column.whole else _KINDS["number"]
        return {"type": ["array"] if column.steps else ["array", "null"], "items": number, **size}
    return _KINDS.get(column.type, _TEXT)


def _usual(column: Column) -> tuple[Any, ...]:
    return ([1.5] * (column.steps or 3),) if column.type == "sequence" else _USUAL.get(column.type, ("a",))


def _list(column: Column, values: pa.ChunkedArray) -> Sample:
    shown = [float(f"{value:.4g}") for value in values[0].as_py()]
    size = f"{len(shown)} numbers, the newest last" if column.steps else f"training saw up to {len(shown)} numbers"
    return Sample(_kind(column), (shown,), size)


def _category(column: Column, known: tuple[str, ...]) -> Sample:
    shown = [value for value in known if len(value) <= LONGEST_SHOWN][:SHOWN_VALUES]
    note = f"training saw {len(known):,} values, and others count as one more"
    return Sample(_kind(column), tuple(shown) or ("a",), note)


def _drawn(column: Column, values: pa.ChunkedArray, numbers: Mapping[str, Number]) -> Sample:
    present = [_plain(value) for value in values.to_pylist() if value is not None]
    shown = tuple(dict.fromkeys(present))[:3] or _USUAL[column.type]
    number = numbers[column.name]
    note = f"in training the mean was {number.mean:.4g}, the standard deviation {number.std:.4g}"
    return Sample(_kind(column), shown, note if column.type == "number" else "")


def _plain(value: Any) -> Any:
    """Return a drawn value as a reader would write it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return value.replace(microsecond=0).isoformat().replace("+00:00", "Z")

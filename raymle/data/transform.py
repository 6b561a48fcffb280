"""What a model sees of a row: learned in one pass over the train rows, applied by pure Arrow and numpy.

Numbers are standardised, nulls filled with the median and flagged when train had any; categories become codes,
0 for a value that train did not have; texts become codes of their words. The state is JSON.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.data import sequences
from raymle.data.encoded import Encoded, together
from raymle.data.images import to_pixels
from raymle.data.sequences import Sequence
from raymle.data.statistics import MOMENTS, Moments, Partial, numbers_of
from raymle.data.texts import Text
from raymle.records import Column, ImageInput, Inputs, Record, Schema

MOST_CATEGORIES = 10_000
MOST_DEVIATIONS = 1e4
ROWS_AT_ONCE = 8192


class Number(Record):
    """One input number: of a column, or of a part of a moment."""

    column: str
    part: str = ""
    mean: float
    std: float
    fill: float
    flagged: bool = False
    """Whether a second input says that the value was missing."""


class Category(Record):
    """One input code: 1 and up in the order of ``values``, 0 for what train did not have."""

    column: str
    values: tuple[str, ...]
    missing: int
    """Code of a null: 0, or one of its own when train had nulls."""


@final
@dataclass(frozen=True)
class Transform:
    """From a conformed batch to a model's inputs, and from the target to what is learned."""

    numbers: tuple[Number, ...]
    categories: tuple[Category, ...]
    target_column: str
    classes: tuple[str, ...]
    target_mean: float = 0.0
    target_std: float = 1.0
    texts: tuple[Text, ...] = ()
    images: tuple[ImageInput, ...] = ()
    sequences: tuple[Sequence, ...] = ()

    @property
    def inputs(self) -> Inputs:
        """How wide the inputs are."""
        sizes = tuple(1 + len(each.values) + (each.missing > 0) for each in self.categories)
        lists = tuple(each.input for each in self.sequences)
        texts = tuple(text.input for text in self.texts)
        return Inputs(numbers=self._width, categories=sizes, sequences=lists, texts=texts, images=self.images)

    @property
    def _width(self) -> int:
        return len(self.numbers) + sum(number.flagged for number in self.numbers)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs: the numbers, their flags, the values of sequences, the codes, the words."""
        plain = [f"{number.column}.{number.part}".rstrip(".") for number in self.numbers]
        flags = [f"{number.column} is missing" for number in self.numbers if number.flagged]
        values = [name for each in self.sequences for name in each.names]
        words = [f"{text.column}.{place}" for text in self.texts for place in range(text.length)]
        return (*plain, *flags, *values, *(each.column for each in self.categories), *words)

    def apply(self, batch: Any) -> Encoded:
        """Encode a conformed batch or table."""
        if isinstance(batch, pa.Table):
            parts = [self.apply(part) for part in batch.to_batches()]
            return together(parts) if parts else self._empty()
        numbers = self._numbers(batch)
        if self.sequences:
            numbers = np.hstack([numbers, *(sequences.apply(batch, each) for each in self.sequences)])
        return Encoded(numbers, self._codes(batch), self._pixels(batch))

    def _pixels(self, batch: pa.RecordBatch) -> NDArray[np.uint8] | None:
        found = [to_pixels(batch.column(each.column)) for each in self.images]
        return np.hstack(found) if len(found) > 1 else next(iter(found), None)

    def _empty(self) -> Encoded:
        numbers, codes, pixels = self.inputs.widths
        images = np.empty((0, pixels), np.uint8) if pixels else None
        return Encoded(np.empty((0, numbers), np.float32), np.empty((0, codes), np.int32), images)

    def _numbers(self, batch: pa.RecordBatch) -> NDArray[np.float32]:
        """Scale a few thousand rows at a time: columns become rows in the processor's cache, not in memory."""
        parts = {name: numbers_of(batch.column(name)) for name in {number.column for number in self.numbers}}
        inputs = [
            (number, parts[number.column][number.part], batch.column(number.column).null_count > 0)
            for number in self.numbers
        ]
        rows = np.empty((batch.num_rows, self._width), np.float32)
        for start in range(0, batch.num_rows, ROWS_AT_ONCE):
            block = slice(start, start + ROWS_AT_ONCE)
            flag = len(inputs)
            for place, (number, values, has_nulls) in enumerate(inputs):
                unknown = _scale(values[block], number, rows[block, place], has_nulls=has_nulls)
                if number.flagged:
                    rows[block, flag] = unknown
                    flag += 1
        return rows

    def _codes(self, batch: pa.RecordBatch) -> NDArray[np.int32]:
        rows = np.empty((batch.num_rows, self.inputs.widths[1]), np.int32)
        for place, category in enumerate(self.categories):
            rows[:, place] = _encode(batch.column(category.column), self._words[place], category.missing)
        start = len(self.categories)
        for text in self.texts:
            rows[:, start : start + text.length] = text.encode(batch.column(text.column))
            start += text.length
        return rows

    @cached_property
    def _words(self) -> tuple[pa.Array, ...]:
        """The values of each category, made once: a batch may be a single row."""
        return tuple(pa.array(category.values, pa.string()) for category in self.categories)

    def target(self, batch: Any) -> NDArray[Any]:
        """Return the target: int64 class codes, or float64 in raw units.

        Raises:
            DataError: a class that training never saw.
        """
        values = batch.column(self.target_column)
        values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        if not self.classes:
            return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False))
        codes = _encode(values, pa.array(self.classes, pa.string()), 0)
        if len(codes) and codes.min() == 0:
            from raymle.errors import DataError

            strange = values[int(codes.argmin())].as_py()
            raise DataError(
                f"target {self.target_column!r} holds {strange!r}, which training never saw",
                hint=f"the classes are {', '.join(self.classes[:10])}",
            )
        return codes.astype(np.int64) - 1

    def state(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        images = {"images": [each.model_dump() for each in self.images]} if self.images else {}
        return images | {
            "numbers": [number.model_dump() for number in self.numbers],
            "categories": [category.model_dump(mode="json") for category in self.categories],
            "texts": [text.model_dump() for text in self.texts],
            "sequences": [sequence.model_dump(mode="json") for sequence in self.sequences],
            "target": {
                "column": self.target_column, "classes": list(self.classes),
                "mean": self.target_mean, "std": self.target_std,
            },
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Transform":
        """Make the transform that ``state`` described."""
        target = state["target"]
        return cls(
            numbers=tuple(Number.model_validate(number) for number in state["numbers"]),
            categories=tuple(Category.model_validate(category) for category in state["categories"]),
            target_column=target["column"],
            classes=tuple(target["classes"]),
            target_mean=target["mean"],
            target_std=target["std"],
            texts=tuple(Text.model_validate(text) for text in state.get("texts", ())),
            images=tuple(ImageInput.model_validate(image) for image in state.get("images", ())),
            sequences=tuple(Sequence.model_validate(sequence) for sequence in state.get("sequences", ())),
        )


def _scale(
    values: NDArray[np.float64], number: Number, out: NDArray[np.float32], *, has_nulls: bool
) -> NDArray[np.bool_] | bool:
    """Write standardised numbers and return which were missing."""
    with np.errstate(over="ignore"):  # infinity is cut off below
        scaled = values - number.mean
        scaled /= number.std
    unknown: NDArray[np.bool_] | bool = False
    if has_nulls:
        unknown = np.isnan(values)
        scaled[unknown] = (number.fill - number.mean) / number.std
    np.clip(scaled, -MOST_DEVIATIONS, MOST_DEVIATIONS, out=scaled)
    out[:] = scaled
    return unknown


def _encode(values: pa.Array, words: pa.Array, missing: int) -> NDArray[np.int32]:
    """Return the code of each value: 1 and up in the order of the words, 0 for others, ``missing`` for a null."""
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    known = pc.index_in(encoded.dictionary.cast(pa.string()), words)
    codes = np.append(pc.fill_null(known, -1).to_numpy(zero_copy_only=False) + 1, missing)
    places = encoded.indices
    if places.null_count:
        places = pc.fill_null(places.cast(pa.int64()), len(encoded.dictionary))
    return np.asarray(codes[places.to_numpy(zero_copy_only=False)], np.int32)


def learn(partial: Partial, medians: Mapping[tuple[str, str], float], *, texts: tuple[Text, ...] = ()) -> Transform:
    """Turn the statistics of all train rows into a transform.

    Args:
        partial: The merged statistics.
        medians: What fills a null, for each number.
        texts: What was learned of columns of text.
    """
    schema = partial.schema
    target = partial.numbers.get((schema.target, "target"), Moments(1, 0.0, 1.0))
    numbers = [
        Number(
            column=column, part=part, mean=moments.mean, std=moments.std,
            fill=medians.get((column, part), moments.mean), flagged=moments.nulls > 0 and part in {"", "day"},
        )
        for (column, part), moments in _in_order(schema, partial.numbers)
    ]  # fmt: skip
    categories = [_category(name, partial.categories[name]) for name in _names(schema) if name in partial.categories]
    images = tuple(_image(each) for each in schema.features if each.shape is not None)
    return Transform(
        numbers=tuple(numbers), categories=tuple(categories), target_column=schema.target,
        classes=schema.classes, target_mean=target.mean, target_std=target.std, texts=texts, images=images,
        sequences=sequences.learn(schema, partial.sequences),
    )  # fmt: skip


def _image(column: Column) -> ImageInput:
    assert column.shape is not None
    channels, height, width = column.shape
    return ImageInput(column=column.name, channels=channels, height=height, width=width)


def _names(schema: Schema) -> list[str]:
    return [column.name for column in schema.features]


def _in_order(schema: Schema, found: dict[tuple[str, str], Moments]) -> list[tuple[tuple[str, str], Moments]]:
    places = {name: place for place, name in enumerate(_names(schema))}
    parts = ("", *MOMENTS)
    kept = [item for item in found.items() if item[0][1] != "target"]
    return sorted(kept, key=lambda item: (places[item[0][0]], parts.index(item[0][1])))


def _category(name: str, counts: Counter[str | None]) -> Category:
    words = sorted((word for word in counts if word is not None), key=lambda word: (-counts[word], word))
    kept = tuple(words[:MOST_CATEGORIES])
    return Category(column=name, values=kept, missing=len(kept) + 1 if counts[None] else 0)

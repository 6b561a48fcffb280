"""Rows such as a model was trained on, made of what its transform learned: for measuring speed, never quality.

A bundle holds no rows, and the sealed ones are not for this. Numbers are drawn with the mean and deviation that train
had, categories from the values that it had, each alike; where train had nulls, one value in twenty is null. Texts are
as long as they may be, of words that nobody wrote.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raymle.data.casts import ARROW
from raymle.data.casts import arrow as arrow_of
from raymle.data.images import of_pixels
from raymle.data.sequences import Sequence
from raymle.data.transform import Number, Transform
from raymle.records import Column, Schema

NULLS = 0.05
DAY_US = 86_400e6
BLOTS = 4
MOST_DAYS = 1e5
WORDS = 500
"""That drawn texts are made of."""
NEW_YEAR_US = 1_767_225_600 * 10**6
"""2026-01-01."""


def rows(schema: Schema, transform: Transform, count: int, *, seed: int = 0) -> pa.Table:
    """Return rows with the schema's features in canonical types."""
    draw = np.random.default_rng(seed)
    return pa.table({column.name: _column(column, transform, count, draw) for column in schema.features})


def _column(column: Column, transform: Transform, count: int, draw: np.random.Generator) -> pa.Array:
    arrow = arrow_of(column)
    if column.shape is not None:
        return of_pixels(_pictures(column.shape, count, draw))
    sequence = next((each for each in transform.sequences if column.name in each.columns), None)
    if sequence is not None:
        return _lists(column.name, sequence, count, draw)
    number = next((each for each in transform.numbers if each.column == column.name), None)
    if number is not None:
        return pa.array(_numbers(column, number, count, draw), mask=_nulls(number.flagged, count, draw)).cast(arrow)
    text = next((each for each in transform.texts if each.column == column.name), None)
    if text is not None:
        return pa.array(_texts(text.length, count, draw), arrow)
    category = next(each for each in transform.categories if each.column == column.name)
    known = category.values or ("",)
    values = [known[place] for place in draw.integers(0, len(known), count)]
    return pa.array(values, arrow, mask=_nulls(category.missing > 0, count, draw))


def _pictures(shape: tuple[int, int, int], count: int, draw: np.random.Generator) -> NDArray[np.uint8]:
    """Return coarse blots: as in photographs, pixels beside each other are alike."""
    channels, height, width = shape
    coarse = draw.integers(0, 256, (count, channels, BLOTS, BLOTS), np.uint8)
    rows, columns = np.arange(height) * BLOTS // height, np.arange(width) * BLOTS // width
    return coarse[:, :, rows][:, :, :, columns].reshape(count, -1)


def _lists(name: str, sequence: Sequence, count: int, draw: np.random.Generator) -> pa.Array:
    place = sequence.columns.index(name)
    values = sequence.means[place] + sequence.stds[place] * draw.normal(size=(count, sequence.steps))
    return pa.array(list(values), ARROW["sequence"])


def _numbers(column: Column, number: Number, count: int, draw: np.random.Generator) -> NDArray[np.generic]:
    if column.type == "boolean":
        return np.asarray(draw.random(count) < number.mean)
    values = number.mean + number.std * draw.normal(size=count)
    if column.type == "timestamp" and number.part != "day":  # a forecast's moment: the day is none of its parts
        return np.asarray(NEW_YEAR_US + draw.integers(0, 366 * 24, count) * 3600 * 10**6)
    if column.type == "timestamp":  # its first part is the day
        return np.asarray(np.clip(values, -MOST_DAYS, MOST_DAYS) * DAY_US).astype(np.int64)
    return np.asarray(values)


def _texts(length: int, count: int, draw: np.random.Generator) -> list[str]:
    """Return texts of so many words at most, each of two to eight letters."""
    letters = np.array(list("etaoinshrdlucmfw"))
    words = ["".join(draw.choice(letters, size)) for size in draw.integers(2, 9, WORDS)]
    return [" ".join(words[place] for place in draw.integers(0, WORDS, size))
            for size in draw.integers(1, length + 1, count)]  # fmt: skip


def _nulls(has_nulls: bool, count: int, draw: np.random.Generator) -> NDArray[np.bool_]:  # noqa: FBT001
    return np.asarray(draw.random(count) < (NULLS if has_nulls else 0))

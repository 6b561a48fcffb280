"""Rows such as a model was trained on, made of what its transform learned: for measuring speed, never quality.

A bundle holds no rows, and the sealed ones are not for this. Numbers are drawn with the mean and deviation that train
had, categories from the values that it had, each alike; where train had nulls, one value in twenty is null.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raymle.data.casts import ARROW
from raymle.data.sequences import Sequence
from raymle.data.transform import Number, Transform
from raymle.records import Column, Schema

NULLS = 0.05
DAY_US = 86_400e6
MOST_DAYS = 1e5
NEW_YEAR_US = 1_767_225_600 * 10**6
"""2026-01-01."""


def rows(schema: Schema, transform: Transform, count: int, *, seed: int = 0) -> pa.Table:
    """Return rows with the schema's features in canonical types."""
    draw = np.random.default_rng(seed)
    return pa.table({column.name: _column(column, transform, count, draw) for column in schema.features})


def _column(column: Column, transform: Transform, count: int, draw: np.random.Generator) -> pa.Array:
    arrow = ARROW[column.type]
    sequence = next((each for each in transform.sequences if column.name in each.columns), None)
    if sequence is not None:
        return _lists(column.name, sequence, count, draw)
    number = next((each for each in transform.numbers if each.column == column.name), None)
    if number is not None:
        return pa.array(_numbers(column, number, count, draw), mask=_nulls(number.flagged, count, draw)).cast(arrow)
    category = next(each for each in transform.categories if each.column == column.name)
    known = category.values or ("",)
    values = [known[place] for place in draw.integers(0, len(known), count)]
    return pa.array(values, arrow, mask=_nulls(category.missing > 0, count, draw))


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


def _nulls(has_nulls: bool, count: int, draw: np.random.Generator) -> NDArray[np.bool_]:  # noqa: FBT001
    return np.asarray(draw.random(count) < (NULLS if has_nulls else 0))

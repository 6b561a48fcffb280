"""Rows such as a model was trained on, made of what its transform learned: for measuring speed, never quality.

A bundle holds no rows, and the sealed ones are not for this. Numbers are drawn with the mean and deviation that train
had, categories from the values that it had, each alike; where train had nulls, one value in twenty is null.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raymle.data.casts import ARROW
from raymle.data.transform import Number, Transform
from raymle.records import Column, Schema

NULLS = 0.05
DAY_US = 86_400e6
MOST_DAYS = 1e5


def rows(schema: Schema, transform: Transform, count: int, *, seed: int = 0) -> pa.Table:
    """Return rows with the schema's features in canonical types."""
    draw = np.random.default_rng(seed)
    return pa.table({column.name: _column(column, transform, count, draw) for column in schema.features})


def _column(column: Column, transform: Transform, count: int, draw: np.random.Generator) -> pa.Array:
    arrow = ARROW[column.type]
    number = next((each for each in transform.numbers if each.column == column.name), None)
    if number is not None:
        return pa.array(_numbers(column, number, count, draw), mask=_nulls(number.flagged, count, draw)).cast(arrow)
    category = next(each for each in transform.categories if each.column == column.name)
    known = category.values or ("",)
    values = [known[place] for place in draw.integers(0, len(known), count)]
    return pa.array(values, arrow, mask=_nulls(category.missing > 0, count, draw))


def _numbers(column: Column, number: Number, count: int, draw: np.random.Generator) -> NDArray[np.generic]:
    if column.type == "boolean":
        return np.asarray(draw.random(count) < number.mean)
    values = number.mean + number.std * draw.normal(size=count)
    if column.type == "timestamp":  # its first part is the day
        return np.asarray(np.clip(values, -MOST_DAYS, MOST_DAYS) * DAY_US).astype(np.int64)
    return np.asarray(values)


def _nulls(has_nulls: bool, count: int, draw: np.random.Generator) -> NDArray[np.bool_]:  # noqa: FBT001
    return np.asarray(draw.random(count) < (NULLS if has_nulls else 0))

"""Moments of numbers and counts of words over some rows; those of other rows merge with them."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Self, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.records import Schema

NUMERIC = {"number", "boolean", "timestamp"}
MOMENTS = ("day", "hour", "weekday", "month")
ROUNDING = 1e-13
HUGE = 1e154
"""Stands for a deviation whose square is too large for a float."""


@final
@dataclass
class Moments:
    """Count, mean and squared deviations of a number; two merge exactly (Chan, Golub, LeVeque 1983)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    nulls: int = 0

    def add(self, values: NDArray[np.float64], nulls: int) -> None:
        """Count one batch; nulls are NaN in ``values``."""
        known = values[~np.isnan(values)] if nulls else values
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(known.mean()) if len(known) else 0.0
            deviations = known - mean
            squares = float(np.einsum("i,i", deviations, deviations))  # BLAS would start threads of its own
        self.merge(Moments(len(known), mean, squares, nulls))

    def merge(self, other: "Moments") -> None:
        """Take in another's counts."""
        self.nulls += other.nulls
        count = self.count + other.count
        if not other.count:
            return
        gap = other.mean - self.mean
        between = gap * gap * self.count * other.count / count if self.count else 0.0
        self.squares += other.squares + between
        self.mean += gap * other.count / count
        self.count = count

    @property
    def std(self) -> float:
        """Standard deviation; 1 for a constant, whose deviations are only rounding."""
        found = float(np.sqrt(self.squares / self.count)) if self.count else 0.0
        if not np.isfinite(found):
            return HUGE
        return found if found > ROUNDING * abs(self.mean) else 1.0


@final
@dataclass
class Lists:
    """What is learned of a column of lists; two merge."""

    moments: Moments = field(default_factory=Moments)
    longest: int = 0

    def add(self, values: pa.Array) -> None:
        """Count one batch."""
        flat = flattened(values)
        self.moments.add(flat, int(np.isnan(flat).sum()))
        self.longest = max(self.longest, pc.max(pc.list_value_length(values)).as_py() or 0)

    def merge(self, other: "Lists") -> Self:
        """Take in another's counts."""
        self.moments.merge(other.moments)
        self.longest = max(self.longest, other.longest)
        return self


def flattened(values: pa.Array) -> NDArray[np.float64]:
    """Return all values of all lists, NaN for null."""
    return np.asarray(values.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False))


@final
@dataclass
class Partial:
    """Statistics of some train rows; two merge."""

    schema: Schema
    numbers: dict[tuple[str, str], Moments] = field(default_factory=dict)
    categories: dict[str, Counter[str | None]] = field(default_factory=dict)
    classes: Counter[str | None] = field(default_factory=Counter)
    sequences: dict[str, Lists] = field(default_factory=dict)

    def add(self, batch: pa.RecordBatch) -> Self:
        """Count a conformed batch of train rows."""
        for column in self.schema.features:
            if column.type == "image":  # there is nothing to be learned, and its pixels are not here
                continue
            values = batch.column(column.name)
            if column.type == "sequence":
                self.sequences.setdefault(column.name, Lists()).add(values)
            elif column.type in NUMERIC:
                self._add_numbers(column.name, values)
            elif column.type == "category":
                self.categories.setdefault(column.name, Counter()).update(_counts(values))
        if self.schema.task == "regression":
            target = numbers_of(batch.column(self.schema.target))[""]
            self.numbers.setdefault((self.schema.target, "target"), Moments()).add(target, 0)
        else:
            self.classes.update(_counts(batch.column(self.schema.target)))
        return self

    def _add_numbers(self, name: str, values: pa.Array) -> None:
        for part, numbers in numbers_of(values).items():
            if self.schema.series is None or part in self.schema.series.parts:
                self.numbers.setdefault((name, part), Moments()).add(numbers, values.null_count)

    def merge(self, other: "Partial") -> Self:
        """Take in the statistics of other rows."""
        for place, moments in other.numbers.items():
            self.numbers.setdefault(place, Moments()).merge(moments)
        for name, counts in other.categories.items():
            self.categories.setdefault(name, Counter()).update(counts)
        for name, lists in other.sequences.items():
            self.sequences.setdefault(name, Lists()).merge(lists)
        self.classes.update(other.classes)
        return self


def numbers_of(values: pa.Array) -> dict[str, NDArray[np.float64]]:
    """Return a column as numbers, NaN for null: one, or the parts of a moment."""
    if not pa.types.is_timestamp(values.type):
        values = values.cast(pa.int8()) if pa.types.is_boolean(values.type) else values
        return {"": values.cast(pa.float64()).to_numpy(zero_copy_only=False)}
    days = pc.divide(values.cast(pa.int64()).cast(pa.float64(), safe=False), 86_400e6)
    parts = {
        "day": days,
        "hour": pc.hour(values),
        "weekday": pc.day_of_week(values),
        "month": pc.month(values),
    }
    return {name: part.cast(pa.float64()).to_numpy(zero_copy_only=False) for name, part in parts.items()}


def _counts(values: pa.Array) -> dict[str | None, int]:
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    places = encoded.indices.drop_null().to_numpy(zero_copy_only=False)
    found = np.bincount(places, minlength=len(encoded.dictionary))
    counts: dict[str | None, int] = {
        word: int(count) for word, count in zip(encoded.dictionary.to_pylist(), found, strict=True) if count
    }
    return counts | ({None: values.null_count} if values.null_count else {})

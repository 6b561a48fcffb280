"""The contract of a data set: batches are brought to its types, and what breaks it is counted and named."""

import difflib
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raymle.data.casts import canonical, plain, sum_is_finite
from raymle.errors import DataError
from raymle.records import Column, Schema

MOST_CLASSES = 1000
FEWEST_ROWS = 3


def conform(batch: Any, schema: Schema, *, target: bool = True) -> Any:
    """Return the batch (or table) with the schema's columns in its order and in canonical types.

    Canonical are float64 (NaN is null), bool, string (dictionaries stay), and timestamps in microseconds UTC.
    Dropped columns are left out. Without ``target`` only features are needed; keys come along if there.

    Raises:
        DataError: a column is missing, or holds a value that is not of its type.
    """
    if isinstance(batch, pa.Table):
        parts = batch.to_batches() or [pa.RecordBatch.from_pylist([], schema=batch.schema)]
        return pa.Table.from_batches([conform(part, schema, target=target) for part in parts])
    present = batch.schema.names
    wanted = [column for column in schema.columns if _is_wanted(column, present, target=target)]
    absent = next((column.name for column in wanted if column.name not in present), None)
    if absent is not None:
        raise missing(absent, present)
    arrays = [canonical(batch.column(column.name), column) for column in wanted]
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in wanted])


def _is_wanted(column: Column, present: list[str], *, target: bool) -> bool:
    if target or column.role == "feature":
        return column.role != "drop"
    return column.role == "key" and column.name in present


def missing(name: str, names: Iterable[str], *, what: str = "") -> DataError:
    """Return the error for a column that is not there, with the nearest name that is."""
    names = list(names)
    folded = {each.strip().casefold(): each for each in names}
    near = difflib.get_close_matches(name.strip().casefold(), list(folded), n=1, cutoff=0.6)
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    hint = f"did you mean {folded[near[0]]!r}?" if near else f"the columns are {shown}"
    if names and all(_is_number(each) for each in names):
        hint = "the first line must hold the column names"
    return DataError(f"{what + ' ' if what else ''}column {name!r} is not in the data", hint=hint)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


class Contract:
    """Counts over conformed batches what would spoil training; the counts of two merge."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.rows = 0
        self.nulls: Counter[str] = Counter()
        self.infinite: Counter[str] = Counter()
        self.targets: Counter[Any] = Counter()
        self.first: dict[tuple[str, str], int] = {}
        """The first row that lacks a value, or is infinite, of each column."""

    def add(self, batch: pa.RecordBatch) -> None:
        """Count one conformed batch."""
        before, self.rows = self.rows, self.rows + batch.num_rows
        for column in self.schema.columns:
            if column.role == "drop":
                continue
            values = batch.column(column.name)
            self.nulls[column.name] += values.null_count
            if column.role == "target" and values.null_count:
                self._first(column.name, "null", before, values.is_null())
            if column.type == "sequence":
                values = values.flatten()
                values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
            if column.type in {"number", "sequence"} and not sum_is_finite(values):
                self.infinite[column.name] += pc.sum(pc.is_inf(values)).as_py() or 0
                if column.type == "number" and self.infinite[column.name]:
                    self._first(column.name, "infinite", before, pc.is_inf(values))
        self._count_targets(batch.column(self.schema.target))

    def _first(self, name: str, kind: str, before: int, found: pa.Array) -> None:
        place = pc.index(found, value=True).as_py()
        if place >= 0:
            self.first.setdefault((name, kind), before + place)

    def _count_targets(self, values: pa.Array) -> None:
        if self.schema.task == "regression":
            limits = pc.min_max(values).as_py()
            self.targets.update([limits["min"], limits["max"]])
        elif len(self.targets) <= MOST_CLASSES:
            for entry in pc.value_counts(plain(values)).to_pylist():
                self.targets[entry["values"]] += entry["counts"]
        self.targets.pop(None, None)

    def merge(self, other: "Contract") -> None:
        """Take in what another one counted over the batches after these."""
        self.first = {key: self.rows + row for key, row in other.first.items()} | self.first
        self.rows += other.rows
        self.nulls += other.nulls
        self.infinite += other.infinite
        self.targets += other.targets

    def finish(self) -> Schema:
        """Return the schema with its classes, in order.

        Raises:
            DataError: one sentence with everything that would spoil training.
        """
        if not self.rows:
            raise DataError("the data has no rows")
        if self.rows < FEWEST_ROWS:
            raise DataError(f"the data has {self.rows} row{'s' * (self.rows > 1)}, too few to train and validate")
        problems = [*self._column_problems(), *self._target_problems()]
        if problems:
            more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
            hints = list(dict.fromkeys(hint for _, hint in problems))
            raise DataError("; ".join(text for text, _ in problems[:5]) + more, hint="; ".join(hints[:3]))
        if self.schema.task == "regression":
            return self.schema
        return self.schema.model_copy(update={"classes": tuple(sorted(self.targets, key=_natural))})

    def _column_problems(self) -> Iterable[tuple[str, str]]:
        for column in self.schema.columns:
            nulls, infinite = self.nulls[column.name], self.infinite[column.name]
            if column.role == "target" and 0 < nulls < self.rows:
                share = f"{nulls:,} of {self.rows:,} rows{self._where(column.name, 'null')}"
                yield f"target {column.name!r} is missing in {share}", "leave those rows out of the source"
            elif nulls == self.rows:
                hint = "name another target" if column.role == "target" else f"data.drop: [{column.name}]"
                yield f"{'target' if column.role == 'target' else 'column'} {column.name!r} has no values", hint
            if infinite:
                yield (
                    f"column {column.name!r} holds infinity in {infinite:,} of {self.rows:,} rows"
                    + self._where(column.name, "infinite"),
                    "replace infinity by null or a large number, or drop the column",
                )

    def _where(self, name: str, kind: str) -> str:
        row = self.first.get((name, kind))
        return "" if row is None else f", first in row {row + 1:,}"

    def _target_problems(self) -> Iterable[tuple[str, str]]:
        target, count = self.schema.target, len(self.targets)
        if count == 1:
            only = next(iter(self.targets))
            hint = "there is nothing to learn"
            if self.schema.anomaly:
                hint = "label a few anomalies: they say on validation rows where the threshold is"
            yield f"target {target!r} has only one value, {only!r}", hint
        elif count > MOST_CLASSES and self.schema.task == "classification":
            text = f"target {target!r} has more than {MOST_CLASSES:,} classes"
            yield text, "is data.task: regression meant, or another column?"


def _natural(name: str) -> tuple[int, float, str]:
    """Sort numbers by value and before words."""
    return (0, float(name), name) if _is_number(name) else (1, 0.0, name)

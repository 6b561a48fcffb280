"""Features that say the target and may not be known before it: suspects, for a person to judge."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raymle.data.summary import alone, bins
from raymle.data.summary.alone import Truth
from raymle.data.summary.bins import Codes
from raymle.records import Column, Schema

FROM = 0.98
"""AUC or R² of one column alone from which it is a suspect."""
SAME = 0.9999
"""Rank correlation from which a number is the target in other units."""
AGREE = 0.999
"""Share of rows from which values and classes go together one to one."""
LATER = 0.95
"""Share of rows in which a moment is after that of `data.time`."""
ROWS = 20_000
REPEATED = 5
"""Rows that a category has on average at least: an id says nothing of other rows."""
Finding = dict[str, Any]


def suspects(schema: Schema, table: pa.Table) -> list[Finding]:
    """Return what is found of each feature: it is the target, decides it, predicts it, or comes after the event."""
    table = bins.spread(table, ROWS)
    target = alone.truth(table[schema.target], task=schema.task)
    known = [column for column in schema.features if column.name in table.column_names]
    found = (_suspect(column, table[column.name], target) for column in known)
    return [*filter(None, found), *_later(schema, table)]


def _suspect(column: Column, values: pa.ChunkedArray, target: Truth) -> Finding | None:
    if column.type in {"text", "image", "sequence"}:
        return None
    codes, count = bins.codes(values)
    if column.type in {"category", "boolean"} and count > max(3, len(codes) / REPEATED):
        return None
    power = alone.power(codes, count, target)
    if target.classes:
        return _of_classes(column, codes, count, target, power=power)
    if column.type not in {"number", "timestamp"}:
        return _finding("alone", column, power, "R²") if power >= FROM else None
    straight, rank = alone.straight(bins.numbers(values), target)
    if rank >= SAME:
        return _finding("copy", column, rank, "rank correlation")
    power = max(power, straight)
    return _finding("alone", column, power, "R²") if power >= FROM else None


def _of_classes(column: Column, codes: Codes, count: int, target: Truth, *, power: float) -> Finding | None:
    if power < FROM:
        return None
    counts = alone.table(codes, count, target)
    agreeing = counts.max(1).sum() / len(codes)
    values, each_once = (counts.sum(1) > 0).sum(), len(set(counts.argmax(1)[counts.sum(1) > 0]))
    if agreeing >= AGREE and values == each_once == target.classes:
        return _finding("copy", column, agreeing, "share of rows")
    if agreeing == 1 and column.type in {"category", "boolean"}:
        return _finding("decides", column, power, "AUC")
    return _finding("alone", column, power, "AUC")


def _later(schema: Schema, table: pa.Table) -> Iterator[Finding]:
    """Yield the moments that come after the one which orders the rows."""
    moments = [column for column in schema.features if column.type == "timestamp"]
    for name in schema.named("time"):
        if not pa.types.is_temporal(table[name].type):
            continue
        for column in moments:
            after = pc.greater(table[column.name], table[name]).drop_null()
            share = float(np.mean(after.to_numpy())) if len(after) else 0.0
            if share >= LATER:
                yield _finding("later", column, share, "share of rows") | {"columns": [column.name, name]}


def _finding(kind: str, column: Column, figure: float, unit: str) -> Finding:
    return {"kind": kind, "columns": [column.name], "figure": round(float(figure), 6), "unit": unit}

"""What `raymle data show` tells of each column: from samples of train and validation, never of a sealed row."""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raymle.records import Column, Schema

PRIVATE_NAMES = re.compile(
    r"(?i)(^|_)(name|surname|firstname|lastname|e?mail|phone|mobile|address|street|ssn|iban|passport|birth\w*|dob|ip)($|_)"
)
PRIVATE_VALUES = re.compile(r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$|^\+?\d[\d ()-]{8,}\d$|^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$")
LOOK_ROWS = 200
SHOWN = 40


def summarise(schema: Schema, samples: dict[str, pa.Table]) -> list[dict[str, Any]]:
    """Return type, role, nulls, distinct values, range and a privacy flag for every column."""
    rows = pa.concat_tables([samples["train"], samples["validation"]])
    return [_column(column, rows) for column in schema.columns]


def short(value: str | None) -> str | None:
    """Cut a text to what a line shows."""
    return value if value is None or len(value) <= SHOWN else f"{value[: SHOWN - 1]}…"


def _column(column: Column, rows: pa.Table) -> dict[str, Any]:
    found: dict[str, Any] = {
        "column": column.name, "type": column.type, "role": column.role, "reason": column.reason,
        "private": bool(PRIVATE_NAMES.search(column.name)),
    }  # fmt: skip
    if column.name not in rows.column_names:
        return found
    values = rows[column.name]
    found["nulls"] = round(values.null_count / max(1, len(values)), 4)
    if pa.types.is_nested(values.type):
        values = pc.list_flatten(values)
        limits = pc.min_max(pc.if_else(pc.is_nan(values), None, values)).as_py()
        return found | {"min": limits["min"], "mean": float(np.nanmean(values.to_numpy())), "max": limits["max"]}
    found["distinct"] = pc.count_distinct(values).as_py()
    if column.type == "number":
        limits = pc.min_max(values).as_py()
        found |= {"min": limits["min"], "mean": pc.mean(values).as_py(), "max": limits["max"]}
    elif pa.types.is_string(values.type):
        words = values.slice(0, LOOK_ROWS).drop_null().to_pylist()
        found["private"] |= bool(words) and sum(bool(PRIVATE_VALUES.match(word)) for word in words) > len(words) / 2
        counted = sorted(pc.value_counts(values).to_pylist(), key=lambda each: -each["counts"])[:3]
        found["most"] = [short(each["values"]) for each in counted]
    return found

"""Columns that say the same as another, and columns that only name the row."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raymle.data.infer import KEY_NAME
from raymle.data.summary import bins
from raymle.data.summary.bins import Codes
from raymle.data.summary.columns import Facts
from raymle.records import Column, Schema

ALIKE = 0.95
MOST_NUMBERS, MOST_CATEGORIES, MOST_PAIRS = 300, 30, 20
ROWS = 5000
FEWEST = 100
ALL_DIFFERENT = 0.99
Finding = dict[str, Any]


def correlated(schema: Schema, table: pa.Table) -> tuple[list[Finding], list[str]]:
    """Return pairs of features that say the same, the closest first, and in sentences what was not compared.

    Numbers and moments by Pearson's r, categories by Cramér's V without its bias.
    """
    some = bins.spread(table, ROWS)
    numbers = [each.name for each in schema.features if each.type in {"number", "timestamp"}]
    words = [each.name for each in schema.features if each.type in {"category", "boolean"}]
    left_out = [
        f"of {len(names):,} {kind} the first {most} were compared with each other"
        for names, kind, most in ((numbers, "numbers", MOST_NUMBERS), (words, "categories", MOST_CATEGORIES))
        if len(names) > most
    ]
    if some.num_rows < FEWEST:
        return [], [*left_out, f"fewer than {FEWEST} rows: columns were not compared with each other"]
    pairs = [*_numbers(some, numbers[:MOST_NUMBERS]), *_categories(some, words[:MOST_CATEGORIES])]
    pairs.sort(key=lambda each: -abs(each["figure"]))
    if len(pairs) > MOST_PAIRS:
        left_out.append(f"{len(pairs) - MOST_PAIRS:,} more pairs of columns say the same")
    return pairs[:MOST_PAIRS], left_out


def _numbers(table: pa.Table, names: list[str]) -> Iterator[Finding]:
    if len(names) < 2:
        return
    values = np.stack([bins.numbers(table[name]) for name in names])
    known = np.isfinite(values)
    values[~known] = 0.0
    count = np.maximum(1, known.sum(1, keepdims=True))
    with np.errstate(all="ignore"):
        centred = np.where(known, values - values.sum(1, keepdims=True) / count, 0.0)
        scaled = centred / np.sqrt((centred**2).sum(1, keepdims=True))
    scaled[~np.isfinite(scaled).all(1)] = 0.0  # a constant, or too large to square
    r = np.triu(scaled @ scaled.T, 1)
    for left, right in np.argwhere(np.abs(r) >= ALIKE):
        yield {"kind": "alike", "columns": [names[left], names[right]], "figure": _figure(r[left, right]), "unit": "r"}


def _categories(table: pa.Table, names: list[str]) -> Iterator[Finding]:
    coded = {name: bins.codes(table[name]) for name in names}
    few = {name: (codes, count) for name, (codes, count) in coded.items() if count <= table.num_rows / 10}
    for (left, mine), (right, theirs) in combinations(few.items(), 2):
        v = cramer(mine[0], theirs[0])
        if v >= ALIKE:
            yield {"kind": "alike", "columns": [left, right], "figure": _figure(v), "unit": "Cramér's V"}


def cramer(left: Codes, right: Codes) -> float:
    """Return Cramér's V of two columns of codes, less what chance adds to it (Bergsma 2013)."""
    rows = len(left)
    _, left, of_left = np.unique(left, return_inverse=True, return_counts=True)
    _, right, of_right = np.unique(right, return_inverse=True, return_counts=True)
    pairs, counts = np.unique(left * len(of_right) + right, return_counts=True)
    expected = of_left[pairs // len(of_right)] * of_right[pairs % len(of_right)]
    phi = float((counts**2 / expected).sum()) - 1
    by_chance = (len(of_left) - 1) * (len(of_right) - 1) / (rows - 1)
    least = min(size - (size - 1) ** 2 / (rows - 1) for size in (len(of_left), len(of_right))) - 1
    return float(np.sqrt(min(1.0, max(0.0, phi - by_chance) / least))) if least > 0 else 0.0


def ids(schema: Schema, table: pa.Table, told: list[Facts], *, rows: int) -> Iterator[Finding]:
    """Yield the features that only name their row.

    Args:
        schema: What each column is.
        table: Sampled rows, in the source's order.
        told: What is known of each column.
        rows: How many rows there are: whole numbers that are packed about as densely count something.
    """
    for column, facts in zip(schema.columns, told, strict=True):
        if column.role != "feature" or column.type not in {"number", "category", "text"}:
            continue
        known = table.num_rows - table[column.name].null_count
        share = facts["distinct"] / max(1, known)
        if known >= FEWEST and share >= ALL_DIFFERENT and _names_rows(column, table[column.name].drop_null(), rows):
            yield {"kind": "id", "columns": [column.name], "figure": round(share, 6), "unit": "share of values"}


def _names_rows(column: Column, known: pa.ChunkedArray, rows: int) -> bool:
    """Whether values that all differ are names of rows, and not a measure or a text of its own."""
    if column.type == "text":
        spaced = pc.mean(pc.match_substring_regex(known, r"\s").cast(pa.float64())).as_py()
        return bool(spaced < 0.1)
    if column.type == "category":
        return True
    values = known.to_numpy()
    if not np.isfinite(values).all() or (values % 1 != 0).any():
        return False
    steps = np.diff(values)
    in_order = bool((steps > 0).all() or (steps < 0).all())
    return in_order or bool(KEY_NAME.search(column.name)) or bool(np.ptp(values) <= 2 * rows)


def _figure(value: float) -> float:
    return round(float(value), 6)

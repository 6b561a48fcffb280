"""Numbers in bins: for pictures, and for tables of what goes with what."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

BINS = 20
WIDE = 3.0
"""Values farther out than this many quartile ranges are counted beside the picture."""
WHOLE = 2.0**50
MOST_BINS, ROWS_A_BIN = 256, 25

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


def histogram(ordered: Floats) -> dict[str, Any]:
    """Return ``edges``, ``counts`` and how many values lie ``below`` and ``above``, of finite numbers in order.

    Whole numbers of a small range have a bin each.
    """
    low, high = fences(ordered)
    inside = ordered[np.searchsorted(ordered, low) : np.searchsorted(ordered, high, side="right")]
    below, above = int(np.searchsorted(ordered, low)), len(ordered) - int(np.searchsorted(ordered, high, side="right"))
    first, last = float(inside[0]), float(inside[-1])
    if last - first <= BINS - 1 and max(-first, last) < WHOLE and (np.floor(inside) == inside).all():
        edges = np.arange(first - 0.5, last + 1)
    else:
        with np.errstate(over="ignore"):
            edges = np.linspace(first / 2, last / 2, BINS + 1) * 2  # halves: a range may be too large for a float
    counts = np.histogram(inside, edges)[0] if (np.diff(edges) > 0).all() else np.array([len(inside)])
    edges = edges if len(edges) == len(counts) + 1 else np.array([first, last])
    return {"edges": edges.tolist(), "counts": counts.tolist(), "below": below, "above": above}


def fences(ordered: Floats) -> tuple[float, float]:
    """Return between which values nothing counts as an outlier (Tukey's outer fences)."""
    quarter, three = np.quantile(ordered, (0.25, 0.75))
    with np.errstate(over="ignore"):
        reach = WIDE * (three - quarter)
    if not reach or not np.isfinite(reach):  # most values are one
        return float(ordered[0]), float(ordered[-1])
    return float(quarter - reach), float(three + reach)


def numbers(values: pa.ChunkedArray) -> Floats:
    """Return numbers or moments (as microseconds) as floats; null is NaN."""
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.int64())
    return np.asarray(pc.fill_null(values.cast(pa.float64()), np.nan).to_numpy())


def codes(values: pa.ChunkedArray) -> tuple[Codes, int]:
    """Return every row's bin or category, and how many there are; the last one is null's."""
    if pa.types.is_floating(values.type) or pa.types.is_temporal(values.type):
        found = numbers(values)
        known = found[np.isfinite(found)]
        edges = _edges(known) if len(known) else np.zeros(1)
        return np.where(np.isnan(found), len(edges) + 1, np.searchsorted(edges, found, side="right")), len(edges) + 2
    encoded = pa.chunked_array([words(values)]).combine_chunks().dictionary_encode()
    count = len(encoded.dictionary)
    return np.asarray(pc.fill_null(encoded.indices.cast(pa.int64()), count).to_numpy()), count + 1


def words(values: pa.ChunkedArray) -> pa.Array:
    """Return categories or truth values as one array of text."""
    return pa.concat_arrays(values.cast(pa.string()).chunks) if values.num_chunks else pa.array([], pa.string())


def spread(rows: Any, most: int) -> Any:
    """Return that many rows of a table or column, or all, from all over it."""
    if len(rows) <= most:
        return rows
    return rows.take(pa.array(np.linspace(0, len(rows) - 1, most).astype(np.int64)))


def _edges(values: Floats) -> Floats:
    """Return edges of bins with about as many values each; one value of many has a bin of its own."""
    count = int(np.clip(len(values) / ROWS_A_BIN, 2, MOST_BINS))
    quantiles = np.sort(values)[np.linspace(0, len(values) - 1, count + 1)[1:-1].round().astype(np.int64)]
    heavy = quantiles[1:][quantiles[1:] == quantiles[:-1]]
    return np.unique(np.concatenate([quantiles, heavy, np.nextafter(heavy, np.inf)]))

"""How far a split's distribution is from train's: from samples, a column at a time, pure."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.errors import GateRefused
from raymle.records import Column, Drift, Schema

BINS = 10
MOST_CATEGORIES = 20


def distribution(schema: Schema, samples: dict[str, pa.Table]) -> tuple[Drift, ...]:
    """Compare validation and test with train: PSI with KS for numbers, PSI with chi-squared for categories."""
    columns = [
        column
        for column in schema.columns
        if column.role in {"feature", "target"} and column.type != "image" and "time" not in column.also
    ]
    return tuple(
        _drift(column.name, side, _compared(column, samples["train"]), _compared(column, samples[side]))
        for column in columns
        for side in ("validation", "test")
        if side in samples and samples[side].num_rows
    )


def refuse(found: tuple[Drift, ...], most: float | None) -> None:
    """Raise GateRefused when a column's PSI exceeds what the spec allows."""
    worst = max(found, key=lambda drift: drift.psi, default=None)
    if most is not None and worst is not None and worst.psi > most:
        raise GateRefused(
            f"column {worst.column!r} differs between train and {worst.split}: PSI {worst.psi:.3f} > {most:g}",
            hint="look at `raymle data split`, choose another split, or raise split.max_drift",
        )


def _compared(column: Column, sample: pa.Table) -> pa.ChunkedArray:
    """Return what is compared of a column: of a text, how long it is."""
    values = sample[column.name]
    return pc.utf8_length(values).cast(pa.float64()) if column.type == "text" else values


def _drift(name: str, side: str, train: pa.ChunkedArray, other: pa.ChunkedArray) -> Drift:
    if pa.types.is_nested(train.type):  # of sequences all values together
        train, other = (pc.list_flatten(each) for each in (train, other))
    if pa.types.is_floating(train.type) or pa.types.is_temporal(train.type):
        mine, theirs = _numbers(train), _numbers(other)
        edges = _edges(mine)
        counts = [
            np.append(np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1), nulls)
            for values, nulls in ((mine, train.null_count), (theirs, other.null_count))
        ]
        statistic, p_value = _kolmogorov(mine, theirs)
    else:
        counts = _category_counts(train, other)
        statistic, p_value = _chi_squared(*counts)
    return Drift(
        column=name, split=side, psi=_psi(*counts), statistic=statistic, p_value=p_value
    )  # fmt: skip


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return edges of bins with about as many values each; one value of many has a bin of its own."""
    if not len(values):
        return np.zeros(1)
    quantiles = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])
    heavy = quantiles[1:][quantiles[1:] == quantiles[:-1]]
    return np.unique(np.concatenate([quantiles, heavy, np.nextafter(heavy, np.inf)]))


def _numbers(values: pa.ChunkedArray) -> NDArray[np.float64]:
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.int64())
    numbers = values.drop_null().cast(pa.float64()).to_numpy()
    return np.sort(numbers[~np.isnan(numbers)])


def _category_counts(train: pa.ChunkedArray, other: pa.ChunkedArray) -> list[NDArray[np.int64]]:
    words = [pd.Series(each.cast(pa.string()).to_pylist(), dtype=object).fillna("") for each in (train, other)]
    most = words[0].value_counts().index[:MOST_CATEGORIES]
    tables = [each.where(each.isin(most), "other values").value_counts() for each in words]
    names = [*most, "other values"]
    return [table.reindex(names, fill_value=0).to_numpy(np.int64) for table in tables]


def _psi(train: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Return the population stability index, half a row added to every bin so that none is empty."""
    shares = [(each + 0.5) / (each.sum() + 0.5 * len(each)) for each in (train, other)]
    return round(float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()), 6)


def _kolmogorov(train: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """Return the two-sample Kolmogorov-Smirnov distance and its asymptotic p-value."""
    from scipy import special  # a training worker imports this module, and never gets here

    if not len(train) or not len(other):
        return 0.0, 1.0
    points = np.concatenate([train, other])
    shares = [np.searchsorted(each, points, side="right") / len(each) for each in (train, other)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    effective = len(train) * len(other) / (len(train) + len(other))
    return round(distance, 6), float(special.kolmogorov(distance * np.sqrt(effective)))


def _chi_squared(train: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[float, float]:
    """Return the chi-squared statistic of the two-row table and its p-value."""
    from scipy import special

    table = np.stack([train, other])[:, (train + other) > 0].astype(float)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / max(1.0, table.sum())
    if table.shape[1] < 2 or (expected == 0).any():
        return 0.0, 1.0
    statistic = float(((table - expected) ** 2 / expected).sum())
    return round(statistic, 6), float(special.chdtrc(table.shape[1] - 1, statistic))

"""How far the rows of a request are from what training saw, column by column; pure counting over Arrow tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.data.transform import Transform
from raymle.records import Schema

MOST_COLUMNS = 100
FAR = 6.0
"""Standard deviations from the mean, beyond which a number is outlying."""

Columns = Mapping[str, pa.ChunkedArray]
"""The conformed features of some rows."""


@final
@dataclass(frozen=True)
class Seen:
    """What training saw of the first 100 features."""

    columns: tuple[str, ...]
    words: Mapping[str, frozenset[str | None]]
    """The categories of each column, and null."""
    numbers: tuple[str, ...]
    means: NDArray[np.float64]
    """``[numbers, 1]``"""
    reach: NDArray[np.float64]
    """Six standard deviations, ``[numbers, 1]``."""
    texts: tuple[str, ...] = ()


def seen(schema: Schema, transform: Transform) -> Seen:
    """Take from the transform what rows are held against. Truth values and moments are never outlying."""
    features = schema.features[:MOST_COLUMNS]
    plain = {column.name for column in features if column.type == "number"}
    numbers = [number for number in transform.numbers if number.column in plain]
    names = {column.name for column in features}
    return Seen(
        columns=tuple(column.name for column in features),
        words={each.column: frozenset({*each.values, None}) for each in transform.categories if each.column in names},
        numbers=tuple(number.column for number in numbers),
        means=np.array([[number.mean] for number in numbers]),
        reach=np.array([[FAR * number.std] for number in numbers]),
        texts=tuple(text.column for text in transform.texts if text.column in names),
    )


def missing(columns: Columns, against: Seen) -> dict[str, int]:
    """Count the nulls of each column that has any."""
    return {name: nulls for name in against.columns if (nulls := columns[name].null_count)}


def empty(columns: Columns, against: Seen) -> dict[str, int]:
    """Count the texts of blanks alone, for each column that has any; a null is missing, and not empty."""
    blank = {name: pc.sum(pc.equal(pc.utf8_trim_whitespace(columns[name]), "")).as_py() for name in against.texts}
    return {name: count for name, count in blank.items() if count}


def unseen(columns: Columns, against: Seen) -> dict[str, int]:
    """Count the rows whose category training did not see, for each column that has any."""
    strange = {name: set(columns[name].unique().to_pylist()) - words for name, words in against.words.items()}
    return {name: _count(columns[name], words) for name, words in strange.items() if words}


def _count(values: pa.ChunkedArray, words: set[str]) -> int:
    found = values.value_counts()
    counts = zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)
    return sum(number for word, number in counts if word in words)


def outlying(columns: Columns, against: Seen) -> dict[str, int]:
    """Count the numbers over six standard deviations from the mean, for each column that has any."""
    if not against.numbers:
        return {}
    values = np.array([columns[name].to_numpy() for name in against.numbers], np.float64)
    counts = np.count_nonzero(np.abs(values - against.means) > against.reach, axis=1)
    return {against.numbers[place]: int(counts[place]) for place in np.flatnonzero(counts)}

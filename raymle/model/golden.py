"""Rows with the predictions that a model gave when it was made: whoever loads it anywhere can see that it still does.

``golden.arrow`` holds 64 drawn rows and the edges (nulls, values that training never saw, extreme numbers) in the
canonical types of the schema, then the prediction columns. No row is a user's.
"""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raymle.data import examples
from raymle.data.casts import arrow
from raymle.data.transform import Transform
from raymle.errors import ArtifactError, WorkError
from raymle.model.bundle import Bundle, Predictions, named
from raymle.records import Column, Schema

NAME = "golden.arrow"
ROWS = 64
TOLERANCE = 1e-4
"""Of a probability; of a number in the target's standard deviations."""
QUANTIZED_TOLERANCE = 0.02
"""The same for 8-bit models, whose rounding is not the same on every processor."""
UNSEEN = "a value that training never saw"
EXTREME: dict[str, tuple[Any, ...]] = {
    "number": (0.0, 1e30, -1e30, 5e-324),
    "boolean": (True, False, True, False),
    "timestamp": (0, 2**52, -(2**52), 1),  # microseconds: 1827 to 2112
    "sequence": ([], [0.0], [1e30, -1e30], [5e-324] * 3),
}


def rows(schema: Schema, transform: Transform, count: int = ROWS) -> pa.Table:
    """Return drawn rows and, after them, the edges."""
    drawn = examples.rows(schema, transform, count)
    names = [column.name for column in schema.features]
    edges = pa.table({column.name: _edges(column) for column in schema.features}) if names else drawn
    return pa.concat_tables([drawn, edges]).combine_chunks()


def _edges(column: Column) -> pa.Array:
    """Nothing at all, then the extremes; other text is the same strange value each time."""
    if column.shape is not None:
        size = prod(column.shape)
        extremes = (b"\0", b"\xff", b"\0\xff", b"\x80")
        return pa.array([None, *((each * size)[:size] for each in extremes)], arrow(column))
    values = EXTREME.get(column.type, (UNSEEN, "", " ", UNSEEN * 100))
    return pa.array([None, *values], pa.int64() if column.type == "timestamp" else None).cast(arrow(column))


def write(bundle: Bundle, path: Path) -> None:
    """Write golden rows with what the bundle predicts of them."""
    known = rows(bundle.schema, bundle.transform)
    table = beside(known, named(bundle.schema, _predicted(bundle, known)))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _predicted(bundle: Bundle, known: pa.Table) -> Predictions:
    """Predict golden rows; where a row's prediction depends on those beside it, each alone."""
    if bundle.contents.quantized != "dynamic":
        return bundle.predict(known)
    return np.concatenate([bundle.predict(known.slice(place, 1)) for place in range(known.num_rows)])


def beside(known: pa.Table, predicted: pa.Table) -> pa.Table:
    """Put predictions after the features; a feature may have the name of a prediction."""
    names = [*known.column_names, *predicted.column_names]
    return pa.Table.from_arrays([*known.columns, *predicted.columns], names)


def has(bundle: Bundle) -> bool:
    """Whether a bundle has golden rows: its native form does."""
    return (bundle.path / NAME).is_file()


def check(bundle: Bundle) -> None:
    """Predict the golden rows again and compare; a bundle without any passes.

    Raises:
        WorkError: a prediction is another one, or not a number.
        ArtifactError: the file is damaged.
    """
    if not has(bundle):
        return
    known, expected = _read(bundle.path / NAME, bundle.schema)
    predicted = _predicted(bundle, known)
    tolerance = QUANTIZED_TOLERANCE if bundle.contents.quantized else TOLERANCE
    distances = apart(bundle.transform, expected, predicted)
    if (distances <= tolerance).all():
        return
    first = int(np.argmax(~(distances <= tolerance)))
    what = "is not a number" if np.isnan(distances[first]) else f"is {distances[first]:.3g} off"
    raise WorkError(
        f"{bundle.path}: golden row {first} {what}: {expected[first]} was predicted when it was made, "
        f"and now {predicted[first]}; {tolerance:g} is allowed",
        hint="this machine computes something else: export the model anew on it, or use --format torch",
    )


def _read(path: Path, schema: Schema) -> tuple[pa.Table, Predictions]:
    """Return the rows and, ``[n, classes]`` or ``[n]``, what was predicted of them."""
    try:
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(f"{path} is damaged: {error}") from None
    width = len(schema.features)
    numbers = table.columns[width + 1 :] if schema.classes else table.columns[width:]
    if len(numbers) != max(1, len(schema.classes)):
        raise ArtifactError(f"{path} is damaged: it has {table.num_columns} columns")
    predicted = np.column_stack([column.to_numpy() for column in numbers])
    return table.select(range(width)), predicted if schema.classes else predicted[:, 0]


def apart(transform: Transform, expected: Predictions, found: Predictions) -> NDArray[np.float64]:
    """Return how far predictions are from what was expected, for each row ``[n]``; NaN where only one is NaN.

    For classes the largest difference of a probability. For numbers the difference in the target's standard
    deviations; far from the mean, where float32 has no such digits, as a share of the distance from it.
    """
    if expected.shape != found.shape:
        return np.full(len(expected), np.nan)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        difference = np.abs(expected - found)
    difference[(expected == found) | (np.isnan(expected) & np.isnan(found))] = 0
    if expected.ndim == 2:
        return np.asarray(difference.max(axis=1))
    scale = transform.target_std + np.abs(expected - transform.target_mean)
    return np.asarray(difference / scale)

"""Rows of a csv or JSON file that cannot be read as a whole: each as text, then the value of its column's type."""

import json
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.data import formats, json_lines
from raymle.data.casts import every_failing, not_of_type
from raymle.data.formats import File

ABOUT = pa.schema(
    [("quarantine_row", pa.int64()), ("quarantine_column", pa.string()), ("quarantine_reason", pa.string())]
)
"""Columns that say of a bad row which it is, counted from 1, and what is wrong with it."""
KINDS = {"double": "number", "int64": "number", "bool": "boolean"}


class Salvaged(NamedTuple):
    """Some rows of the columns' types, and those between them that are not."""

    rows: pa.RecordBatch
    numbers: NDArray[np.int64]
    """Each row's number in its file, from 1; the header of a csv is not counted."""
    lost: pa.Table
    """What ``ABOUT`` says, and the columns as text."""


class Texts(NamedTuple):
    """Some rows as text, and what is no row: its number and why."""

    rows: pa.RecordBatch
    numbers: NDArray[np.int64]
    broken: list[tuple[int, str]]


def salvaged(file: File, columns: pa.Schema, *, rows: int) -> Iterator[Salvaged]:
    """Yield a file's rows with the columns' types, and apart from them the rows that have a value of another type."""
    texts = _csv(file, columns, rows) if file.format == "csv" else _json(file, columns, rows)
    for found in texts:
        yield _typed(found, columns)


def _typed(texts: Texts, columns: pa.Schema) -> Salvaged:
    why = _misfits(texts.rows, columns)
    bad = np.array(sorted(why), np.int64)
    good = np.setdiff1d(np.arange(texts.rows.num_rows), bad)
    kept, lost = texts.rows.take(pa.array(good)), texts.rows.take(pa.array(bad))
    arrays = [_cast(values, kind=kind) for values, kind in zip(kept.columns, columns.types, strict=True)]
    about = [texts.numbers[bad], *([why[row][part] for row in bad.tolist()] for part in (0, 1))]
    broken = [{"quarantine_row": number, "quarantine_reason": reason} for number, reason in texts.broken]
    schema = pa.schema([*ABOUT, *lost.schema])
    together = [pa.table([*about, *lost.columns], schema=schema), pa.Table.from_pylist(broken, schema=schema)]
    return Salvaged(
        pa.RecordBatch.from_arrays(arrays, schema=columns),
        texts.numbers[good],
        pa.concat_tables(together).sort_by("quarantine_row"),
    )


def _misfits(rows: pa.RecordBatch, columns: pa.Schema) -> dict[int, tuple[str, str]]:
    """Return the column and the reason of each row with a value that is not of its column's type."""
    why: dict[int, tuple[str, str]] = {}
    for name, values, kind in zip(columns.names, rows.columns, columns.types, strict=True):
        for row in every_failing(values, partial(_cast, kind=kind)).tolist():
            reason = not_of_type(name, KINDS.get(str(kind), str(kind)), values[row].as_py())
            why.setdefault(row, (name, reason))
    return why


def _cast(values: pa.Array, *, kind: pa.DataType) -> pa.Array:
    return values if pa.types.is_string(kind) else pc.utf8_trim_whitespace(values).cast(kind)


def _csv(file: File, columns: pa.Schema, rows: int) -> Iterator[Texts]:
    ragged: list[tuple[int, str]] = []
    number = 1
    for batch in formats.csv_as_text(file, columns.names, ragged):
        for start in range(0, batch.num_rows, rows):
            part = batch.slice(start, rows)
            numbers = _numbers(number, part.num_rows, {place for place, _ in ragged})
            after = int(numbers[-1]) + 1 if len(numbers) else number
            yield Texts(part, numbers, [each for each in ragged if number <= each[0] < after])
            number = after
    if late := [each for each in ragged if each[0] >= number]:
        yield Texts(pa.RecordBatch.from_pylist([], schema=_texts(columns)), np.empty(0, np.int64), late)


def _numbers(start: int, count: int, without: set[int]) -> NDArray[np.int64]:
    """Return so many numbers, leaving some out."""
    stop = start + count + len(without)
    free = np.setdiff1d(np.arange(start, stop), np.fromiter(without, np.int64, len(without)))
    return free[:count]


def _texts(columns: pa.Schema) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in columns.names])


def _json(file: File, columns: pa.Schema, rows: int) -> Iterator[Texts]:
    with file.stream() as stream:
        numbered = enumerate(json_lines.lines(stream), 1)
        while some := list(islice(numbered, rows)):
            yield _parsed(some, columns)


def _parsed(lines: list[tuple[int, bytes]], columns: pa.Schema) -> Texts:
    found, numbers, broken = [], [], []
    for number, line in lines:
        row = json_lines.parsed(line)
        if row is None:
            broken.append((number, f"is no JSON object: {line[:80].decode('utf-8', 'replace')}"))
        else:
            found.append({name: _text(row.get(name)) for name in columns.names})
            numbers.append(number)
    return Texts(pa.RecordBatch.from_pylist(found, schema=_texts(columns)), np.array(numbers, np.int64), broken)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)

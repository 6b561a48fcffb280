"""Newline JSON that cannot be read as a whole, line by line."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa

BLOCK = 2 << 20


def lines(stream: pa.NativeFile) -> Iterator[bytes]:
    """Yield the lines that are not empty."""
    rest = b""
    while block := stream.read(BLOCK):
        *whole, rest = (rest + block).split(b"\n")
        yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest


def parsed(line: bytes) -> dict[str, Any] | None:
    """Return the object of a line; None when it is something else."""
    with suppress(ValueError):
        found = json.loads(line)
        return found if isinstance(found, dict) else None
    return None


def first_rows(stream: pa.NativeFile) -> pa.RecordBatch | None:
    """Return rows at the start, each column with the values of the type that most have; None when no line is a row."""
    rows = [row for line in stream.read(BLOCK).splitlines() if (row := parsed(line)) is not None]
    names = dict.fromkeys(name for row in rows for name in row)
    if not names:
        return None
    return pa.RecordBatch.from_pydict({name: _of_one_type([row.get(name) for row in rows]) for name in names})


def _of_one_type(values: list[Any]) -> list[Any]:
    kinds = [float if type(value) is int else type(value) for value in values]
    counts = Counter(kind for kind in kinds if kind is not type(None))
    most = counts.most_common(1)[0][0] if counts else None
    return [value if kind is most else None for value, kind in zip(values, kinds, strict=True)]

"""JSON over the wire: bytes to a checked table, predictions to bytes. Nothing is ever unpickled."""

import json
import re
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from raymle.records import Schema
from raymle.serve import layout, pictures, values
from raymle.serve.layout import Layout
from raymle.serve.limits import (
    SHOWN_FAULTS,
    Fault,
    Limits,
    Overloaded,
    RequestError,
    check_count,
    fault,
    faulty,
    invalid,
    too_large,
)

__all__ = ["Limits", "Overloaded", "RequestError", "answer", "encode", "error", "finite", "parse", "read"]

SHAPES = 'the body must be {"rows": [{"column": value, ...}, ...]} or {"columns": {"column": [value, ...], ...}}'
FEW_ROWS = 8
"""Up to which rows go to Arrow one by one; more go by columns."""
_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_LONG_INTEGER = re.compile(rb"(?<![0-9.])[0-9]{19,}(?![0-9.eE])")
_DIGITS = bytes.maketrans(b"0123456789", b"0000000000")
_MANY_DIGITS = b"0" * 19


class _Unsure(Exception):  # noqa: N818  it never leaves this module
    """The quick parser may not say the same as the strict one."""


def parse(body: bytes, schema: Schema, limits: Limits) -> pa.Table:
    """Return the rows of a request as a table of the schema's features in canonical Arrow types.

    Raises:
        RequestError: it is not JSON (400), too large (413), or a row does not fit (422, naming it).
    """
    return read(body, layout.of(schema), limits)


def read(body: bytes, expected: Layout, limits: Limits) -> pa.Table:
    """Do what ``parse`` does for a layout that is kept from request to request."""
    if len(body) > limits.body:
        raise too_large(limits)
    try:
        document = _quick(body)
    except _Unsure:
        document = _strict(body)
    match document:
        case {"rows": list(rows), **others} if not others:
            return pictures.decoded(_from_rows(rows, expected, limits), expected, limits)
        case {"columns": dict(columns), **others} if not others:
            return pictures.decoded(_from_columns(columns, expected, limits), expected, limits)
    raise invalid(SHAPES)


def _quick(body: bytes) -> Any:
    """Parse with orjson, which refuses NaN, infinity and depth, but not a key that comes twice."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _Unsure from None
    if _MANY_DIGITS in body.translate(_DIGITS) and _LONG_INTEGER.search(body):  # orjson makes it a float
        raise _Unsure
    keys = _keys(document)
    if body.count(b":") != keys and _TEXTS.sub(b"", body).count(b":") != keys:
        raise _Unsure  # each key has its colon: there are keys that the document does not hold
    return document


def _keys(document: Any) -> int:
    """Count the keys of a document of one of the two shapes."""
    if type(document) is not dict:
        return 0
    inner = document.get("rows") or document.get("columns")
    parts = inner if type(inner) is list else [inner]
    return len(document) + sum([len(part) for part in parts if type(part) is dict])


def _strict(body: bytes) -> Any:
    """Parse again for the reason why not, or for what only this parser knows exactly."""
    try:
        return json.loads(body.decode(), parse_constant=_no_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8 at byte {error.start}", kind="not_json") from None
    except RecursionError:
        raise RequestError("the body is nested too deep", kind="not_json") from None
    except ValueError as error:
        raise RequestError(f"the body is not JSON: {str(error)[:120]}", kind="not_json") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number; send null for a missing value")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("an object has the same key twice")
    return values


def _from_rows(rows: list[Any], expected: Layout, limits: Limits) -> pa.Table:
    check_count(len(rows), limits)
    table = _one_by_one(rows, expected) if len(rows) <= FEW_ROWS else None
    if table is not None:
        return table
    for index, row in enumerate(rows):
        if type(row) is not dict:
            reason = "a row is an object of columns and values"
            raise invalid(f"row {index} is not an object", [fault(index, None, reason)])
    if strangers := expected.strangers(set().union(*rows)):
        raise expected.strange(strangers[0], next(index for index, row in enumerate(rows) if strangers[0] in row))
    columns = {name: [row.get(name, values.ABSENT) for row in rows] for name, _ in expected.converters}
    return _table(columns, expected)


def _one_by_one(rows: list[Any], expected: Layout) -> pa.Table | None:
    """Return the table of a few rows that are as they should be; None when a closer look is needed."""
    if not all(type(row) is dict and expected.fits(row.keys()) for row in rows):
        return None
    try:
        good = [{name: convert(row[name]) for name, convert in expected.converters} for row in rows]
    except (ValueError, OverflowError):
        return None
    return pa.Table.from_struct_array(pa.array(good, expected.row))


def _from_columns(columns: dict[str, Any], expected: Layout, limits: Limits) -> pa.Table:
    if strangers := expected.strangers(columns):
        raise expected.strange(strangers[0])
    faults = [fault(None, name, "a column is a list of values") for name, each in columns.items()
              if type(each) is not list]  # fmt: skip
    faults += [fault(None, name, values.MISSING) for name in sorted(expected.needed - columns.keys())]
    if faults:
        raise faulty(faults)
    first, count = next(((name, len(each)) for name, each in columns.items()), ("", 0))
    for name, each in columns.items():
        if len(each) != count:
            reason = f"it has {len(each):,} values, and {first!r} has {count:,}"
            raise faulty([fault(min(len(each), count), name, reason)])
    check_count(count, limits)
    return _table(columns, expected)


def _table(columns: dict[str, Any], expected: Layout) -> pa.Table:
    faults: list[Fault] = []
    arrays = {column.name: values.array(columns[column.name], column, faults) for column in expected.features}
    if faults:
        raise faulty(faults)
    return pa.table(arrays)


def answer(predicted: np.ndarray, schema: Schema, version: str) -> bytes:
    """Return the response: a number for each row, or a class with its probabilities.

    Raises:
        RequestError: 422 when the model has no finite answer, as far from its training data.
    """
    rows: list[Any] = finite(predicted).tolist()
    if schema.task == "classification":
        names = schema.classes
        rows = [{"class": names[row.index(max(row))], "probabilities": dict(zip(names, row, strict=True))}
                for row in rows]  # fmt: skip
    return orjson.dumps({"predictions": rows, "version": version})


def finite(predicted: np.ndarray) -> np.ndarray:
    """Return the predictions if every one is a number, else refuse the rows that have none."""
    if np.isfinite(predicted).all():
        return predicted
    rows = np.flatnonzero(~np.isfinite(predicted.reshape(len(predicted), -1)).all(axis=1))
    reason = "the model has no finite answer; the values are far from what it learned"
    faults = [fault(int(row), None, reason) for row in rows[:SHOWN_FAULTS]]
    raise RequestError(f"row {rows[0]}: {reason}", status=422, kind="no_answer", rows=faults)


def error(refused: RequestError) -> bytes:
    """Return the body of a refusal."""
    return encode({"error": {"type": refused.kind, "message": str(refused), "rows": refused.rows}})


def encode(document: Any) -> bytes:
    """Return compact JSON; ASCII, so that text which is no valid Unicode can be quoted back."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()

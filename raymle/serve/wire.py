"""What goes over the wire: bytes to a checked table, predictions to bytes. Nothing is ever unpickled."""

import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa

from raymle.errors import RaymleError
from raymle.records import Column, Record, Schema

FLOAT32_MAX = float(np.finfo(np.float32).max)
SHOWN_FAULTS = 20
_ABSENT = object()


class Limits(Record):
    """What one request may ask for."""

    body: int = 8 * 2**20
    """Bytes that are parsed."""
    read: int = 64 * 2**20
    """Bytes that are read: a client that is cut off while it sends never sees why."""
    rows: int = 10_000
    seconds: float = 10
    """How long a body may take to arrive."""


class RequestError(RaymleError):
    """A request that gets a 4xx: the client's fault, and what it was."""

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "bad_request",
        rows: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.rows = list(rows)


def check_type(content_type: str, content_encoding: str) -> None:
    """Refuse with 415 what does not say that it is plain JSON."""
    kind, _, parameters = content_type.lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    if kind.strip() != "application/json" or charset not in {"", "utf-8", "utf8"}:
        message = f"the content type is {content_type[:80]!r}, not application/json in UTF-8"
        raise RequestError(message, status=415, kind="content_type")
    if content_encoding.lower() not in {"", "identity"}:
        message = f"the body is encoded as {content_encoding[:80]!r}; send it plain"
        raise RequestError(message, status=415, kind="content_encoding")


def check_length(content_length: str, limits: Limits) -> None:
    """Refuse with 413 a body that says it is too large to be even read and thrown away."""
    if content_length.isdecimal() and (len(content_length) > 18 or int(content_length) > limits.read):
        raise too_large(limits)


def too_large(limits: Limits) -> RequestError:
    """Return the refusal of a body over the limit."""
    return RequestError(f"the body is over {limits.body:,} bytes", status=413, kind="too_large")


def parse(body: bytes, schema: Schema, limits: Limits) -> pa.Table:
    """Return the rows of a request as a table of the schema's features in canonical Arrow types.

    Raises:
        RequestError: it is not JSON (400), too large (413), or a row does not fit (422, naming it).
    """
    if len(body) > limits.body:
        raise too_large(limits)
    rows = _rows(_json(body), limits)
    known = {column.name for column in schema.columns}
    if strange := set().union(*rows) - known:
        raise _strange_column(min(strange), rows, schema)
    faults: list[dict[str, Any]] = []
    arrays = {column.name: _array(rows, column, faults) for column in schema.features}
    if faults:
        first = faults[0]
        message = f"row {first['row']}, column {first['column']!r}: {first['reason']}"
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise _invalid(message + more, faults[:SHOWN_FAULTS])
    return pa.table(arrays)


def _json(body: bytes) -> Any:
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


def _rows(document: Any, limits: Limits) -> list[dict[str, Any]]:
    if not isinstance(document, dict) or set(document) != {"rows"} or not isinstance(document["rows"], list):
        raise _invalid('the body must be {"rows": [{"column": value, ...}, ...]}')
    rows: list[Any] = document["rows"]
    if not rows:
        raise _invalid("rows is empty")
    if len(rows) > limits.rows:
        message = f"{len(rows):,} rows in one request; at most {limits.rows:,}"
        raise RequestError(message, status=413, kind="too_many_rows")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            fault = {"row": index, "column": None, "reason": "a row is an object of columns and values"}
            raise _invalid(f"row {index} is not an object", [fault])
    return rows


def _invalid(message: str, faults: Sequence[dict[str, Any]] = ()) -> RequestError:
    return RequestError(message, status=422, kind="invalid_rows", rows=faults)


def _strange_column(name: str, rows: list[dict[str, Any]], schema: Schema) -> RequestError:
    near = get_close_matches(name[:200], [column.name for column in schema.columns], 1)
    reason = f"there is no such column{f'; did you mean {near[0]!r}?' if near else ''}"
    index = next(index for index, row in enumerate(rows) if name in row)
    fault = {"row": index, "column": name[:200], "reason": reason}
    return _invalid(f"row {index}, column {name[:200]!r}: {reason}", [fault])


def _array(rows: list[dict[str, Any]], column: Column, faults: list[dict[str, Any]]) -> pa.Array:
    """Return a column in its Arrow type; a value that does not fit becomes a fault and a null."""
    values = [row.get(column.name, _ABSENT) for row in rows]
    convert, arrow = _CONVERT.get(column.type, (_text, pa.string()))
    quick = _number_column(values) if column.type == "number" else None
    if quick is not None:
        return quick
    good: list[Any] = []
    for index, value in enumerate(values):
        try:
            good.append(None if value is None else _present(convert, value))
        except (ValueError, OverflowError) as error:
            faults.append({"row": index, "column": column.name, "reason": str(error)})
            good.append(None)
    return pa.array(good, arrow)


def _present(convert: Callable[[Any], Any], value: Any) -> Any:
    if value is _ABSENT:
        raise ValueError("the column is missing; send null when the value is")
    return convert(value)


def _number_column(values: list[Any]) -> pa.Array | None:
    """Return plain finite numbers at once; None when a closer look is needed."""
    if not set(map(type, values)) <= {int, float}:
        return None
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    return pa.array(numbers) if bool((np.abs(numbers) <= FLOAT32_MAX).all()) else None


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"{_show(value)} is not a number")
    if not abs(value) <= FLOAT32_MAX:
        raise ValueError("the number is beyond 3.4e38")
    return float(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{_show(value)} is not true or false")  # noqa: TRY004  one kind of error for a value
    return value


def _text(value: Any) -> str:
    """Return the text that training saw for the same value: 7 and 7.0 are both "7"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{_show(value)} is not a text or a finite number")
    text = str(value)
    if not text.isascii():
        text.encode()  # half a surrogate pair is a ValueError here, not a crash in Arrow
    return text


def _moment(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError(f"{_show(value)} is not an ISO 8601 time such as 2026-01-31T12:00:00Z")  # noqa: TRY004
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{_show(value)} is not an ISO 8601 time such as 2026-01-31T12:00:00Z") from None


def _show(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 1000:
        return "a huge number"
    return json.dumps(value)[:80]


_CONVERT: dict[str, tuple[Callable[[Any], Any], pa.DataType]] = {
    "number": (_number, pa.float64()),
    "boolean": (_boolean, pa.bool_()),
    "timestamp": (_moment, pa.timestamp("us", "UTC")),
}


def answer(predicted: np.ndarray, schema: Schema, version: str) -> bytes:
    """Return the response: a number for each row, or a class with its probabilities.

    Raises:
        RequestError: 422 when the model has no finite answer, as far from its training data.
    """
    rows = np.flatnonzero(~np.isfinite(predicted.reshape(len(predicted), -1)).all(axis=1))
    if len(rows):
        reason = "the model has no finite answer; the values are far from what it learned"
        faults = [{"row": int(row), "column": None, "reason": reason} for row in rows[:SHOWN_FAULTS]]
        raise RequestError(f"row {rows[0]}: {reason}", status=422, kind="no_answer", rows=faults)
    predictions: list[Any] = predicted.tolist()
    if schema.task == "classification":
        best = predicted.argmax(axis=1).tolist()
        predictions = [
            {"class": schema.classes[code], "probabilities": dict(zip(schema.classes, row, strict=True))}
            for code, row in zip(best, predictions, strict=True)
        ]
    return encode({"predictions": predictions, "version": version})


def error(refused: RequestError) -> bytes:
    """Return the body of a 4xx."""
    return encode({"error": {"type": refused.kind, "message": str(refused), "rows": refused.rows}})


def encode(document: Any) -> bytes:
    """Return compact JSON; ASCII, so that text which is no valid Unicode can be quoted back."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()

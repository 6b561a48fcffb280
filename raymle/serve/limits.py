"""What one request may ask for, and the refusal of one that asks for more or for something else."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from raymle.config import ServeConfig
from raymle.errors import RaymleError
from raymle.records import Record

SHOWN_FAULTS = 20
Fault = dict[str, Any]
"""One thing that is wrong with the rows: ``row``, ``column`` (either may be None) and ``reason``."""


class Limits(Record):
    """What one request may ask for."""

    body: int = 8 * 2**20
    """Bytes that are parsed."""
    read: int = 64 * 2**20
    """Bytes that are read: a client that is cut off while it sends never sees why."""
    rows: int = 10_000
    pixels: int = 64_000_000
    """Of all images, as their files have them."""
    seconds: float = 10
    """How long a body may take to arrive."""
    deadline: float = 30
    """Seconds from the request's head to its answer; a client may ask for fewer."""


def configured(config: ServeConfig) -> Limits:
    """Return the limits that the spec asks for."""
    body = int(config.limits.body_mib * 2**20)
    return Limits(
        body=body, read=max(8 * body, 2**20), rows=config.limits.rows, deadline=config.timeout_s,
        pixels=int(config.limits.megapixels * 1e6),
    )  # fmt: skip


class RequestError(RaymleError):
    """A request that is not answered with predictions: why, and with which HTTP status."""

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "bad_request",
        rows: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.rows = list(rows)
        self.headers = dict(headers or {})


class Overloaded(RequestError):  # noqa: N818  it is an answer to whoever can wait
    """More requests wait than can be answered in time: a 503 that says when to come back."""

    def __init__(self, message: str = "too many requests are waiting", *, retry_after_s: float = 1) -> None:
        headers = {"Retry-After": str(max(1, math.ceil(retry_after_s)))}
        super().__init__(message, status=503, kind="overloaded", headers=headers)


def too_large(limits: Limits) -> RequestError:
    """Return the refusal of a body over the limit."""
    return RequestError(f"the body is over {limits.body:,} bytes", status=413, kind="too_large")


def check_count(rows: int, limits: Limits) -> None:
    """Refuse a request of no rows, or of too many."""
    if not rows:
        raise invalid("there are no rows")
    if rows > limits.rows:
        message = f"{rows:,} rows in one request; at most {limits.rows:,}"
        raise RequestError(message, status=413, kind="too_many_rows")


def fault(row: int | None, column: str | None, reason: str) -> Fault:
    """Return one thing that is wrong."""
    return {"row": row, "column": column, "reason": reason}


def invalid(message: str, faults: Sequence[Fault] = ()) -> RequestError:
    """Return the refusal of rows that do not fit."""
    return RequestError(message, status=422, kind="invalid_rows", rows=faults)


def faulty(faults: Sequence[Fault]) -> RequestError:
    """Return the refusal that names the first fault, counts the others and lists some."""
    first = faults[0]
    place = [f"row {first['row']}"] if first["row"] is not None else []
    place += [f"column {first['column']!r}"] if first["column"] is not None else []
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return invalid(f"{', '.join(place)}: {first['reason']}{more}", faults[:SHOWN_FAULTS])

"""One request as it comes in: what its headers ask for, and its body read under the limits."""

import asyncio
import math
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from raymle.serve.limits import Limits, RequestError, too_large

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
TYPES = (JSON, ARROW)
LONGEST_KEY = 256

Headers = Mapping[bytes, bytes]
Receive = Callable[[], Awaitable[Any]]
_ID = re.compile(rb"[\w.-]{1,64}")
_NUMBER = re.compile(rb"[0-9.eE+-]{1,32}")
_PREFERENCE = re.compile(r"([^;,\s]+)\s*(?:;\s*q\s*=\s*([\d.]+))?[^,]*")


class Asked(NamedTuple):
    """What the headers of a request for predictions ask for."""

    sent: str
    """Type of the body: JSON, ARROW or an image's."""
    wanted: str
    """Type of the answer."""
    seconds: float
    key: str | None
    """By which a caller always gets the same version."""


def asked(headers: Headers, limits: Limits, *, types: Collection[str] = TYPES) -> Asked:
    """Return what the headers ask for.

    Raises:
        RequestError: a type that is not known (415, 406), or a header that says nothing (400).
    """
    sent = content_type(headers, types)
    return Asked(sent, answer_type(headers, sent), seconds(headers, limits), sticky_key(headers))


def content_type(headers: Headers, types: Collection[str] = TYPES) -> str:
    """Return JSON, ARROW or another of the types; refuse with 415 what does not say that it is one, and plain."""
    given = headers.get(b"content-type", b"")
    if given == b"application/json" and b"content-encoding" not in headers:
        return JSON
    text = given.decode("latin1").lower()
    kind, _, parameters = text.partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    if kind.strip() not in types or charset not in {"", "utf-8", "utf8"}:
        message = f"the content type is {text[:80]!r}, neither {JSON} in UTF-8 nor {' nor '.join([*types][1:])}"
        raise RequestError(message, status=415, kind="content_type")
    encoding = headers.get(b"content-encoding", b"").decode("latin1").lower()
    if encoding not in {"", "identity"}:
        message = f"the body is encoded as {encoding[:80]!r}; send it plain"
        raise RequestError(message, status=415, kind="content_encoding")
    return kind.strip()


def answer_type(headers: Headers, sent: str) -> str:
    """Return the type that the client likes best, of what was sent where it does not mind; 406 for none."""
    sent = sent if sent == ARROW else JSON
    given = headers.get(b"accept", b"*/*")
    if given == b"*/*":
        return sent
    liked = dict(_preferences(given.decode("latin1").lower()))
    offers = [sent, ARROW if sent == JSON else JSON]
    ranks = [liked.get(offer, liked.get("application/*", liked.get("*/*", 0.0))) for offer in offers]
    if max(ranks) <= 0:
        message = f"answers are {JSON} or {ARROW}, and the request accepts neither"
        raise RequestError(message, status=406, kind="not_acceptable")
    return offers[ranks.index(max(ranks))]


def _preferences(accept: str) -> list[tuple[str, float]]:
    found = [(match[1], match[2]) for match in _PREFERENCE.finditer(accept[:1000])]
    return [(kind, 1.0 if weight is None else _number(weight.encode())) for kind, weight in found]


def _number(text: bytes) -> float:
    """Return a number as people write it, 0 for anything else."""
    try:
        return float(text) if _NUMBER.fullmatch(text) else 0.0
    except ValueError:
        return 0.0


def request_id(headers: Headers) -> str:
    """Return the caller's id when it is harmless in a log line, else a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _ID.fullmatch(given) else secrets.token_hex(8)


def sticky_key(headers: Headers) -> str | None:
    """Return the text by which a caller always gets the same version, if there is one."""
    given = headers.get(b"x-sticky-key")
    if given is not None and len(given) > LONGEST_KEY:
        raise RequestError(f"X-Sticky-Key is over {LONGEST_KEY} characters", kind="header")
    return given.decode("latin1") if given else None


def seconds(headers: Headers, limits: Limits) -> float:
    """Return how long the request may take: the limit, or less where the caller says so."""
    given = headers.get(b"x-request-timeout")
    if given is None:
        return limits.deadline
    wanted = _number(given)
    if not 0 < wanted < math.inf:
        message = "X-Request-Timeout is not a number of seconds above 0, such as 1.5"
        raise RequestError(message, kind="header")
    return min(limits.deadline, wanted)


async def body(receive: Receive, headers: Headers, limits: Limits) -> bytes:
    """Read a body and keep no more of it than the limit.

    Raises:
        RequestError: it is, or says that it is, too large (413); the client left (499).
    """
    _check_length(headers.get(b"content-length", b""), limits)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        whole: bytes = message.get("body", b"")
        if len(whole) > limits.body:
            raise too_large(limits)
        return whole
    return await _parts(message, receive, limits)


async def drain(receive: Receive, limits: Limits) -> None:
    """Read a body and throw it away: a client that is cut off while it sends never sees why."""
    with suppress(RequestError, TimeoutError):
        async with asyncio.timeout(limits.seconds):
            await body(receive, {}, limits.model_copy(update={"body": 0}))


async def _parts(message: Any, receive: Receive, limits: Limits) -> bytes:
    kept, size, more = bytearray(), 0, True
    while more and size <= limits.read:
        if message["type"] == "http.disconnect":
            raise left()
        part = message.get("body", b"")
        size += len(part)
        if size <= limits.body:
            kept += part
        more = message.get("more_body", False)
        message = await receive() if more else message
    if size > limits.body:
        raise too_large(limits)
    return bytes(kept)


def _check_length(given: bytes, limits: Limits) -> None:
    """Refuse with 413 a body that says it is too large to be even read and thrown away."""
    if given.isdigit() and (len(given) > 18 or int(given) > limits.read):
        raise too_large(limits)


def left() -> RequestError:
    """Return the end of a request whose client did not wait; nobody reads it but the metrics."""
    return RequestError("the client left before it had an answer", status=499, kind="disconnected")

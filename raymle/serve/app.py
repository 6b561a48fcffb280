"""One ASGI app over one model: validate, predict, answer; every fault of a client's is a typed 4xx.

Plain ASGI, without a framework's request, routing and middleware: those cost more than the model of one row.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import pyarrow as pa

from raymle.records import Schema
from raymle.serve import arrow, layout, pictures, request, wire
from raymle.serve.admission import Tokens
from raymle.serve.asgi import App, Reply, Send, no_request, respond, while_connected
from raymle.serve.card import OPEN, Answers, told
from raymle.serve.card import Card as Card
from raymle.serve.limits import Limits, RequestError
from raymle.serve.request import ARROW, JSON, Asked, Headers, Receive

LARGE_BODY = 2**18
"""Bytes from which a body is parsed in a thread, so that others are answered meanwhile."""
PREDICT = "/predict"

logger = logging.getLogger(__name__)


class Call(NamedTuple):
    """One request for predictions."""

    request_id: str
    key: str | None
    """By which a caller always gets the same version; header X-Sticky-Key."""
    deadline: float
    """On the monotonic clock: later nobody waits for the answer."""


class Answer(NamedTuple):
    """Predictions, and the version of the model that made them."""

    predictions: np.ndarray
    version: str


Predict = Callable[[pa.Table, Call], Awaitable[Answer]]
Observe = Callable[[int, float, int, str], None]
Room = Callable[[], AbstractContextManager[None]]


def application(
    predict: Predict,
    card: Card,
    *,
    limits: Limits | None = None,
    auth: Tokens | None = None,
    ready: Callable[[], bool] = lambda: True,
    metrics: Callable[[], bytes] | None = None,
    observe: Observe | None = None,
    room: Room = nullcontext,
    names_requests: bool = True,
) -> App:
    """Return the ASGI app of a loaded model.

    Args:
        predict: Takes a table of features that was checked; may raise RequestError, such as Overloaded.
        card: What the app tells of its model.
        limits: What one request may ask for.
        auth: Who may ask; None lets everybody.
        ready: Whether predictions can be asked for; /health/ready is 503 until then.
        metrics: Returns the text of /metrics in Prometheus' format.
        observe: Takes status, seconds, rows and answering version (empty: none did) of each request to /predict,
            once; 499 is a client who left.
        room: Held while a request to /predict is answered; raises Overloaded where there are too many, before the
            body is looked at.
        names_requests: Whether to answer with X-Request-Id; what stands in front may do it already.
    """
    limits = limits or Limits()
    answers = told(card, limits=limits, ready=ready, metrics=metrics, auth=auth is not None)
    expected = layout.of(card.schema)
    read = {
        JSON: lambda body: wire.read(body, expected, limits),
        ARROW: lambda body: arrow.read(body, expected, limits),
    }
    if pictures.is_alone(expected):
        read |= dict.fromkeys((*pictures.CONTENT, *pictures.ALSO), lambda body: pictures.alone(body, expected, limits))
    large = 0 if any(column.type == "image" for column in expected.features) else LARGE_BODY
    predictions = _Predictions(predict, card.schema, limits, read=read, large=large)
    return _Service(predictions, answers, limits, auth, card.version, observe, room, names_requests)


@final
@dataclass(frozen=True)
class _Service:
    """Who is let in, what they asked for, and that every one of them gets an answer."""

    predictions: "_Predictions"
    answers: Answers
    limits: Limits
    auth: Tokens | None
    version: Callable[[], str]
    observe: Observe | None
    room: Room
    names_requests: bool

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer as ASGI asks."""
        if scope["type"] == "http":
            root = scope.get("root_path")
            inner = scope | {"path": scope["path"].removeprefix(root) or "/"} if root else scope
            await self._answer(inner, receive, send)
        else:
            await no_request(scope, receive, send)

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> None:
        now = asyncio.get_running_loop().time
        started, status, rows, version = now(), 499, 0, ""
        headers: Headers = dict(scope["headers"])
        request_id = request.request_id(headers)
        try:
            reply = await self._reply(scope, headers, receive, request_id)
            status, rows, version = reply.status, reply.rows, reply.version
        finally:
            if self.observe is not None and scope["path"] == PREDICT:
                self.observe(status, now() - started, rows, version)
        shown = request_id if self.names_requests else None
        await respond(reply, send, request_id=shown, version=reply.version or self._champion())

    def _champion(self) -> str:
        """Return the version for answers that are no predictions; where there are tokens it is not everybody's."""
        return self.version() if self.auth is None else ""

    async def _reply(self, scope: Any, headers: Headers, receive: Receive, request_id: str) -> Reply:
        try:
            if scope["path"] == PREDICT and scope["method"] == "POST":
                return await self._predicted(headers, receive, request_id)
            return self._tell(scope, headers)
        except RequestError as refused:
            return Reply(wire.error(refused), refused.status, headers=refused.headers)
        except Exception:
            logger.exception("request %s failed", request_id)
            message = f"this is a fault of the server's; its log knows it as {request_id}"
            return Reply(wire.error(RequestError(message, kind="internal")), 500)

    async def _predicted(self, headers: Headers, receive: Receive, request_id: str) -> Reply:
        with ExitStack() as held:
            try:
                held.enter_context(self.room())
                self._admit(headers)
                asked = request.asked(headers, self.limits, types=self.predictions.read)
            except RequestError:
                await request.drain(receive, self.limits)
                raise
            return await self.predictions.reply(asked, headers, receive, request_id)

    def _admit(self, headers: Headers) -> None:
        if self.auth is not None:
            self.auth.admit(headers.get(b"authorization", b""))

    def _tell(self, scope: Any, headers: Headers) -> Reply:
        path, method = scope["path"], scope["method"]
        if path != PREDICT and path not in self.answers:
            raise RequestError("there is no such path; they are in /openapi.json", status=404, kind="not_found")
        if path == PREDICT or method not in {"GET", "HEAD"}:
            allowed = "POST" if path == PREDICT else "GET, HEAD"
            message = f"{path} takes {allowed}"
            raise RequestError(message, status=405, kind="method_not_allowed", headers={"Allow": allowed})
        if path not in OPEN:
            self._admit(headers)
        return self.answers[path](scope.get("root_path") or "")


@final
@dataclass(frozen=True)
class _Predictions:
    """From a body to the model and back, within the time there is."""

    predict: Predict
    schema: Schema
    limits: Limits
    read: dict[str, Callable[[bytes], pa.Table]]
    large: int = LARGE_BODY
    """Bytes from which a body is parsed in a thread: a small file may be a large image."""

    async def reply(self, asked: Asked, headers: Headers, receive: Receive, request_id: str) -> Reply:
        """Return the predictions for a body that has yet to come, or refuse."""
        now = asyncio.get_running_loop().time
        deadline, reading, body = now() + asked.seconds, min(asked.seconds, self.limits.seconds), None
        clock = asyncio.timeout(reading)
        try:
            async with clock:
                body = await request.body(receive, headers, self.limits)
                clock.reschedule(deadline)
                table = await self._table(body, asked.sent)
                work = self.predict(table, Call(request_id, asked.key, deadline))
                answer = await while_connected(work, receive, clock)
        except TimeoutError:
            if not clock.expired():
                raise  # it is not ours
            if body is None:
                raise RequestError(f"the body took over {reading:g} s", status=408, kind="timeout") from None
            if clock.when() != deadline:  # the client left; a timer may fire a little early, so the time does not tell
                raise request.left() from None
            raise RequestError(f"no answer within {asked.seconds:g} s", status=504, kind="deadline") from None
        encode = wire.answer if asked.wanted == JSON else arrow.answer
        content = encode(answer.predictions, self.schema, answer.version)
        return Reply(content, content_type=asked.wanted, rows=table.num_rows, version=answer.version)

    async def _table(self, body: bytes, sent: str) -> pa.Table:
        if len(body) < self.large:
            return self.read[sent](body)
        return await asyncio.to_thread(self.read[sent], body)

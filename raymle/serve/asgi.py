"""The protocol under the app: whole replies, clients who leave, a server's start and end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from raymle.serve.request import JSON, Receive

PATIENCE_S = 0.1
"""A request that takes longer has its client watched: the work of one who left is ended."""

Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]
T = TypeVar("T")


class Reply(NamedTuple):
    """A whole response."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Mapping[str, str] = {}
    rows: int = 0
    version: str = ""
    """Of the model that answered."""


async def respond(reply: Reply, send: Send, *, request_id: str | None, version: str) -> None:
    """Send a reply with the headers that every one has."""
    headers = [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-content-type-options", b"nosniff"),
    ]
    if request_id is not None:
        headers.append((b"x-request-id", request_id.encode()))
    if version:
        headers.append((b"x-model-version", version.encode("ascii", "replace")))
    if reply.headers:
        headers += [(key.lower().encode(), value.encode()) for key, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def while_connected(work: Awaitable[T], receive: Receive, clock: asyncio.Timeout) -> T:
    """Await the work; a client who leaves meanwhile ends it, as the clock does."""
    loop = asyncio.get_running_loop()
    watching: list[asyncio.Task[None]] = []
    timer = loop.call_later(PATIENCE_S, lambda: watching.append(loop.create_task(_end_when_gone(receive, clock))))
    try:
        return await work
    finally:
        timer.cancel()
        for task in watching:
            task.cancel()


async def _end_when_gone(receive: Receive, clock: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if not clock.expired():
        clock.reschedule(asyncio.get_running_loop().time())


async def no_request(scope: Any, receive: Receive, send: Send) -> None:
    """Acknowledge the server's start and end; there are no web sockets."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

"""What the app tells of its model: health, the OpenAPI document, metrics and the page."""

from collections.abc import Callable
from typing import NamedTuple

from raymle.data.transform import Transform
from raymle.records import Schema
from raymle.serve import try_it, wire
from raymle.serve.asgi import Reply
from raymle.serve.limits import Limits, RequestError
from raymle.serve.openapi import openapi

OPEN = frozenset({"/", "/health/live", "/health/ready"})
"""Paths that need no token: they say nothing of the model where there are tokens."""


Answers = dict[str, Callable[[str], Reply]]
"""What each path answers, given the prefix under which the model is reached."""


class Card(NamedTuple):
    """What the app tells of its model."""

    schema: Schema
    name: str
    version: Callable[[], str]
    """Asked anew each time: the champion can change while the app runs."""
    transform: Transform | None = None
    """Knows what training saw, for the examples."""
    page: bool = True
    """Whether there is a page to try the model on."""


def told(
    card: Card,
    *,
    limits: Limits,
    ready: Callable[[], bool],
    metrics: Callable[[], bytes] | None,
    auth: bool,
) -> Answers:
    """Return what each path but /predict answers.

    Args:
        card: What is told of the model.
        limits: What one request may ask for.
        ready: Whether predictions can be asked for.
        metrics: Returns the text of /metrics; None has no such path.
        auth: Whether a token is needed; what is open then says nothing of the model.
    """

    def readiness(_: str) -> Reply:
        if not ready():
            raise RequestError("the model is not ready", status=503, kind="not_ready", headers={"Retry-After": "1"})
        known = {} if auth else {"model": card.name, "version": card.version()}
        return Reply(wire.encode({"status": "ready"} | known))

    def document(root: str) -> Reply:
        described = openapi(
            card.schema, card.transform, name=card.name, version=card.version(), limits=limits, auth=auth,
            metrics=metrics is not None,
        )  # fmt: skip
        return Reply(wire.encode(described | ({"servers": [{"url": root}]} if root else {})))

    answers: Answers = {
        "/health/live": lambda _: Reply(wire.encode({"status": "live"})),
        "/health/ready": readiness,
        "/openapi.json": document,
    }
    if card.page:
        html = Reply(try_it.page().encode(), content_type="text/html; charset=utf-8", headers=try_it.HEADERS)
        answers["/"] = lambda _: html
    if metrics is not None:
        answers["/metrics"] = lambda _: Reply(metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")
    return answers

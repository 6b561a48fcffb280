"""Ask whoever serves a model for another version, and wait for what the replicas say."""

import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ssl import CERT_NONE, create_default_context
from urllib.parse import urlsplit

from raymle.errors import WorkError
from raymle.records import Record
from raymle.serve import history
from raymle.serve.history import Event, Model, State, Wanted
from raymle.store import Store

ANSWER_S, SETTLED_S, LOOK_S, MOST_S = 3.0, 2.5, 0.25, 55.0
"""How long a server may take to say that it lives; how long after its last answer the replicas are all heard;
how often the history is read; and when a change is given up."""


class Taken(Record):
    """What became of a change."""

    replicas: int
    """How many replicas said that they took it; 0 when nobody serves the model."""
    url: str = ""


def is_served(store: Store, name: str) -> State | None:
    """Return the state of a model that is served right now; None when nobody answers at its address."""
    state = history.read(store, name)
    return state if state.url and lives(state.url) else None


def lives(url: str) -> bool:
    """Whether a server answers at an address, whatever certificate it has: nothing is told to it."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    unchecked = create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = CERT_NONE
    connection = (
        HTTPSConnection(host, port, timeout=ANSWER_S, context=unchecked)
        if parts.scheme == "https"
        else HTTPConnection(host, port, timeout=ANSWER_S)
    )
    try:
        connection.request("GET", f"{parts.path}/health/live")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def ask(store: Store, name: str, event: Event) -> Taken:
    """Ask the replicas of a served model for a change, and return when they have made it.

    Raises:
        WorkError: a replica refused it, or none answered in time; then it is withdrawn, and none ever takes it.
    """
    asked = history.append(store, name, event)
    began = last = time.monotonic()
    heard = 0
    state = State()
    while time.monotonic() - began < MOST_S and not (heard and time.monotonic() - last > SETTLED_S):
        state = history.read(store, name, state)
        said = state.answers_to(asked.number)
        if refusal := next((each for each in said if each.kind in {"refused", "withdrawn"}), None):
            raise WorkError(f"{name}: {refusal.reason}", hint="the version that was served goes on answering")
        taken = sum(each.kind == "taken" for each in said)
        if taken > heard:
            heard, last = taken, time.monotonic()
        time.sleep(LOOK_S)
    if not heard:
        withdraw(store, name, asked, "no replica took it in time")
        raise WorkError(
            f"{name}: no replica of {state.url} took the version within {MOST_S:.0f} s", hint="it is withdrawn"
        )
    return Taken(replicas=heard, url=state.url)


def withdraw(store: Store, name: str, asked: Event | Wanted, reason: str) -> None:
    """Take a change back."""
    history.append(store, name, Event(kind="withdrawn", about=asked.number, model=asked.model, reason=reason))


def upgrade(store: Store, name: str, model: Model) -> Taken:
    """Let a version answer everything, if the model is served and follows its champion."""
    return _asked(store, name, Event(kind="champion", model=model))


def challenge(store: Store, name: str, model: Model, *, share: float, shadow: bool) -> Taken:
    """Let a version answer a part, or in the shadow."""
    return _asked(store, name, Event(kind="challenger", model=model, share=share, shadow=shadow))


def _asked(store: Store, name: str, event: Event) -> Taken:
    state = is_served(store, name)
    if state is None:
        return Taken(replicas=0)
    if event.kind == "champion" and state.champion and event.model and state.champion.model == event.model:
        return Taken(replicas=0, url=state.url)
    return ask(store, name, event)

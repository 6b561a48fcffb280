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

REMOTE = 5
"""How many times as long replicas take to look into an object store."""
ANSWER_S, SILENT_S, SETTLED_S, LOOK_S, MOST_S = 3.0, 12.0, 2.5, 0.25, 60.0
"""How long a server may take to say that it lives, and its replicas to stir; how long after the last answer all of
them are heard; how often the history is read; and when a change is given up."""


class Taken(Record):
    """What became of a change."""

    replicas: int
    """How many replicas said that they took it; 0 when nobody serves the model, or nobody could be heard."""
    url: str = ""


def alive(state: State) -> str:
    """Return an address at which a model answers right now, as far as this machine sees; empty when there is none."""
    return next((url for url in reversed(state.urls) if lives(url)), "")


def lives(url: str) -> bool:
    """Whether a server answers at an address, whatever certificate it has: nothing is told to it.

    One that has too much to do says so, and lives.
    """
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
        answer = connection.getresponse()
        return answer.status == 200 or (answer.status == 503 and answer.getheader("Retry-After") is not None)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def ask(store: Store, name: str, event: Event) -> Taken:
    """Ask the replicas of a model for a change, and return when they have made it.

    Nobody is waited for when no replica stirs and no server answers; whoever comes back later follows.

    Raises:
        WorkError: a replica refused it, or a server lives and none took it in time; then none ever takes it.
    """
    asked = history.append(store, name, event)
    try:
        return _heard(store, name, asked)
    except KeyboardInterrupt:
        withdraw(store, name, asked, "the command was stopped")
        raise


def _heard(store: Store, name: str, asked: Event) -> Taken:
    """Wait for the replicas, until all that are at it have said what became of it."""
    state = history.read(store, name)
    if not state.urls:
        return Taken(replicas=0)
    url = alive(state)
    settled = SETTLED_S * (REMOTE if "://" in store.uri else 1)
    began = last = time.monotonic()
    known = heard = at_it = 0
    while at_it or not heard or time.monotonic() - last < settled:
        state = history.read(store, name, state)
        said = state.answers_to(asked.number)
        _check_refusal(name, said)
        if len(said) > known:
            known, last = len(said), time.monotonic()
        heard = sum(each.kind == "taken" for each in said)
        at_it = len({each.by for each in said} - {each.by for each in said if each.kind != "trying"})
        waited = time.monotonic() - began
        if waited > SILENT_S and not said and not url:
            return Taken(replicas=0, url=state.urls[-1])
        if waited > MOST_S * (2 if heard else 1):
            withdraw(store, name, asked, "the replicas did not take it in time")
            raise WorkError(f"{name}: the replicas did not take the version in time", hint="it is withdrawn")
        time.sleep(LOOK_S)
    return Taken(replicas=heard, url=url or state.urls[-1])


def _check_refusal(name: str, said: tuple[Event, ...]) -> None:
    for each in said:
        if each.kind in {"refused", "withdrawn"}:
            raise WorkError(f"{name}: {each.reason}", hint="the version that was served goes on answering")


def withdraw(store: Store, name: str, asked: Event | Wanted, reason: str) -> None:
    """Take a change back."""
    history.append(store, name, Event(kind="withdrawn", about=asked.number, model=asked.model, reason=reason))


def upgrade(store: Store, name: str, model: Model) -> Taken:
    """Let a version answer everything, wherever the champion is served."""
    champion = history.read(store, name).champion
    if champion and champion.model == model:
        return Taken(replicas=0)
    return ask(store, name, Event(kind="champion", model=model))


def challenge(store: Store, name: str, model: Model, *, share: float, shadow: bool) -> Taken:
    """Let a version answer a part, or in the shadow."""
    return ask(store, name, Event(kind="challenger", model=model, share=share, shadow=shadow))

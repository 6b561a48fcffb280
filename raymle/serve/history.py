"""What was asked of a served model and what became of it: numbered events in the storage, folded into one state.

    endpoints/<name>/000001.json

Whoever sees the storage may ask for a change, and every replica follows within seconds, on any cluster and after any
restart; no connection to the cluster is needed. An event is never altered, and two writers cannot both be number 7.
"""

from datetime import UTC, datetime
from typing import Any, Literal

from raymle.records import Record
from raymle.store import Store

Kind = Literal["serving", "stopped", "champion", "challenger", "trying", "taken", "refused", "withdrawn"]
USER = "user"


class Model(Record):
    """A version that can be served: what answers are marked with, and where its native bundle is."""

    version: str
    place: str
    """A folder in the storage, or of this machine."""
    run_id: str = ""


class Event(Record):
    """One line of a served model's history."""

    number: int = 0
    kind: Kind
    at: str = ""
    """When, in UTC."""
    by: str = USER
    """The replica that says so, or the user."""
    model: Model | None = None
    share: float = 0.0
    """Part of the requests that a challenger answers, 0 to 1."""
    shadow: bool = False
    """Whether a challenger's answers are compared and never returned."""
    about: int = 0
    """The event that this one answers; of a server, the first that it heeds."""
    reason: str = ""
    url: str = ""
    """Where a server answers, as it sees itself."""


class Wanted(Record):
    """A version that somebody asked for."""

    number: int
    model: Model
    share: float = 1.0
    shadow: bool = False


class State(Record):
    """What a served model's history comes to."""

    last: int = 0
    urls: tuple[str, ...] = ()
    """Where it is served, the latest last; a server that was killed is among them until another takes its place."""
    champion: Wanted | None = None
    before: tuple[Wanted, ...] = ()
    """Champions since it is served, the latest last."""
    challenger: Wanted | None = None
    answers: tuple[Event, ...] = ()
    """What replicas said since it is served."""
    ended: Event | None = None
    """Why the last challenger, or a champion that was refused, went."""

    def answers_to(self, number: int) -> tuple[Event, ...]:
        """Return what replicas said of one event."""
        return tuple(each for each in self.answers if each.about == number)


def after(state: State, event: Event) -> State:
    """Return the state that an event leads to."""
    return state.model_copy(update={"last": event.number, **_changes(state, event)})


def _changes(state: State, event: Event) -> dict[str, Any]:
    match event.kind:
        case "serving":
            return {"urls": (*_others(state, event), event.url), **_begun(state, event)}
        case "stopped":
            left = _others(state, event)
            return {"urls": left, "challenger": state.challenger if left else None}
        case "champion":
            return _crowned(state, event)
        case "challenger":
            return {"challenger": _wanted(event, event.share)}
        case "trying" | "taken":
            return {"answers": (*state.answers, event)}
        case "refused" | "withdrawn":
            return {"answers": (*state.answers, event), **_without(state, event)}


def _others(state: State, event: Event) -> tuple[str, ...]:
    return tuple(url for url in state.urls if url != event.url)


def _begun(state: State, event: Event) -> dict[str, Any]:
    """Begin with what a server came up with, unless another champion was asked for meanwhile."""
    if state.champion and state.champion.number >= event.about > 0:
        return {}
    return {"champion": _wanted(event, 1.0), "before": (), "answers": ()}


def _crowned(state: State, event: Event) -> dict[str, Any]:
    before = (*state.before, state.champion) if state.champion else state.before
    same = state.challenger and event.model and state.challenger.model.version == event.model.version
    return {
        "champion": _wanted(event, 1.0),
        "before": before,
        "challenger": None if same else state.challenger,
    }


def _without(state: State, event: Event) -> dict[str, Any]:
    """Take back what an event says no to, once."""
    if state.challenger and state.challenger.number == event.about:
        return {"challenger": None, "ended": event}
    before = tuple(each for each in state.before if each.number != event.about)
    if state.champion and state.champion.number == event.about and before:
        return {"champion": before[-1], "before": before[:-1], "ended": event}
    return {"before": before or state.before}


def _wanted(event: Event, share: float) -> Wanted | None:
    model = event.model
    return Wanted(number=event.number, model=model, share=share, shadow=event.shadow) if model else None


def read(store: Store, name: str, state: State | None = None) -> State:
    """Return the state of a served model, from an earlier one on."""
    state = state or State()
    for found in store.names(_folder(name)):
        if found > _file(state.last):
            event = Event.model_validate_json(store.read(f"{_folder(name)}/{found}"))
            state = after(state, event)
    return state


def append(store: Store, name: str, event: Event, state: State | None = None) -> Event:
    """Write an event under the next number that is free, and return it with that; ``state`` is what is known."""
    number = read(store, name, state).last + 1
    while True:
        dated = event.model_copy(update={"number": number, "at": datetime.now(UTC).isoformat(timespec="seconds")})
        if store.write_new(f"{_folder(name)}/{_file(number)}", dated.model_dump_json().encode()):
            return dated
        number += 1


def names(store: Store) -> list[str]:
    """Return the models of a storage that were ever served, or asked to be."""
    return store.names("endpoints")


def _folder(name: str) -> str:
    return f"endpoints/{name}"


def _file(number: int) -> str:
    return f"{number:06d}.json"

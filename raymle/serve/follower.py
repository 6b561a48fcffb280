"""What is wanted of a served model, read from its history, put to work in one replica, and answered there.

A version takes no traffic before it has proved itself; one that ended another replica is not tried.
"""

import time
from pathlib import Path

from raymle.config import ServeConfig
from raymle.errors import RaymleError
from raymle.model import read_contents, read_transform
from raymle.serve import history, slot
from raymle.serve.history import Event, Model, State, Wanted
from raymle.serve.lineup import Fault, Lineup, Rival
from raymle.serve.metrics import Metrics
from raymle.serve.service import Service, place_of, store_of
from raymle.serve.slot import Slot
from raymle.serve.traffic import Evidence
from raymle.store import Store

SAID_S = 4.0
"""How long after its time is up a replica that lives has surely said that it refuses a version."""


class Follower:
    """The one who changes a replica's lineup.

    Args:
        service: What is served.
        replica: How this process is called in the history.
        folder: Where the replicas of this node count.
    """

    def __init__(self, service: Service, replica: str, folder: Path) -> None:
        self._service, self._replica = service, replica
        self._store = store_of(service)
        self._state = history.read(self._store, service.name) if self._store else State()
        self._refused: set[int] = set()
        self._doubted: dict[int, float] = {}
        self._unsaid: list[Fault] = []
        first = self._first()
        place = place_of(first, self._store)
        contents = read_contents(place)
        self.metrics = Metrics(folder, service.name, contents.data_schema, read_transform(place, contents))
        self.lineup = Lineup(service.config, self.metrics, self._open(first, like=None))

    @property
    def _config(self) -> ServeConfig:
        return self._service.config

    def _first(self) -> Model:
        """Return the version that others have taken already, or else the one that the service began with."""
        wanted = self._current(self._state)
        said = self._state.answers_to(wanted.number) if wanted else ()
        return wanted.model if wanted and any(each.kind == "taken" for each in said) else self._service.model

    def _open(self, model: Model, *, like: Slot | None, apart: bool = False) -> Slot:
        schema = like.bundle.schema if like else None
        opening = slot.Opening(model, self._store, self._config, self.metrics, like=schema, apart=apart)
        return slot.within(self._config.load_timeout_s, opening)

    def _current(self, state: State) -> Wanted | None:
        wanted = state.champion
        return wanted if wanted and wanted.number >= self._service.since else None

    def look(self) -> None:
        """Follow what is new in the history, judge the challenger; one thread calls it every now and then."""
        self.lineup.judge()
        if self._store is None:
            return
        self._say_what_was_withdrawn(self._store)
        self._state = history.read(self._store, self._service.name, self._state)
        wanted = self._current(self._state)
        if wanted and wanted.model.version != self.lineup.champion.model.version and (found := self._tried(wanted)):
            self.lineup.replace(found)
        self.lineup.oppose(self._challenger(self._state.challenger))

    def _say_what_was_withdrawn(self, store: Store) -> None:
        self._unsaid += self.lineup.withdrawn()
        while self._unsaid:
            rival, why = self._unsaid[0]
            history.append(store, self._service.name, self._event("withdrawn", rival.wanted, why), self._state)
            self._unsaid.pop(0)  # said: before that the storage may be out of reach

    def _challenger(self, wanted: Wanted | None) -> Rival | None:
        rival = self.lineup.rival
        if wanted is None or wanted.model.version == self.lineup.champion.model.version:
            return None
        if rival and rival.wanted.number == wanted.number:
            return rival
        if rival and rival.wanted.model == wanted.model:  # only its share is another
            self._say("taken", wanted)
            return Rival(wanted, rival.slot, Evidence())
        found = self._tried(wanted, apart=True)
        return Rival(wanted, found, Evidence()) if found else None

    def _tried(self, wanted: Wanted, *, apart: bool = False) -> Slot | None:
        """Open a version that was asked for, and say in the history how that went."""
        if wanted.number in self._refused or self.lineup.has_judged(wanted) or self._doubtful(wanted):
            return None
        self._say("trying", wanted)
        try:
            found = self._open(wanted.model, like=self.lineup.champion, apart=apart)
        except RaymleError as error:
            self._refuse(wanted, str(error))
            return None
        if not self._still_wanted(wanted):
            return None
        self._say("taken", wanted)
        return found

    def _still_wanted(self, wanted: Wanted) -> bool:
        """Whether nobody has withdrawn a version while it was loaded."""
        if self._store:
            self._state = history.read(self._store, self._service.name, self._state)
        asked = (self._state.champion, self._state.challenger)
        return wanted.number in {each.number for each in asked if each}

    def _doubtful(self, wanted: Wanted) -> bool:
        """Whether another replica is still at it, or never came back: then the version is not tried again."""
        said = self._state.answers_to(wanted.number)
        back = {each.by for each in said if each.kind != "trying"}
        gone = {each.by for each in said if each.kind == "trying"} - back - {self._replica}
        if not gone or any(each.kind == "taken" for each in said):
            return False
        since = self._doubted.setdefault(wanted.number, time.monotonic())
        if time.monotonic() - since > self._config.load_timeout_s + SAID_S:
            self._refuse(wanted, f"version {wanted.model.version} ended the replica that loaded it")
        return True

    def _refuse(self, wanted: Wanted, reason: str) -> None:
        self._refused.add(wanted.number)
        self._say("refused", wanted, reason)

    def _say(self, kind: history.Kind, wanted: Wanted, reason: str = "") -> None:
        if self._store:
            history.append(self._store, self._service.name, self._event(kind, wanted, reason), self._state)

    def _event(self, kind: history.Kind, wanted: Wanted, reason: str) -> Event:
        return Event(kind=kind, about=wanted.number, by=self._replica, reason=reason, model=wanted.model)

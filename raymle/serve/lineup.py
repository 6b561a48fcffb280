"""The versions of one replica: the champion answers, a challenger answers its share or is compared in the shadow.

What is wanted is read from the model's history; a version takes no traffic before it has proved itself, and one that
misbehaves goes at once. In-flight requests keep the version they began with.
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from raymle.config import ServeConfig
from raymle.errors import RaymleError
from raymle.model import read_contents, read_transform
from raymle.serve import history, slot, traffic
from raymle.serve.app import Answer, Call
from raymle.serve.batching import Predictions
from raymle.serve.history import Event, Model, State, Wanted
from raymle.serve.limits import Overloaded
from raymle.serve.metrics import Metrics
from raymle.serve.service import Service, place_of, store_of
from raymle.serve.slot import Slot
from raymle.serve.traffic import Evidence

MOST_COMPARED = 8
"""Comparisons that may wait; more are left out: a shadow never slows the champion."""


class Rival(NamedTuple):
    """A challenger, how it was asked for, and what was seen of it."""

    wanted: Wanted
    slot: Slot
    seen: Evidence


class Lineup:
    """Champion and challenger of one replica.

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
        self._unsaid: deque[Event] = deque()
        self._comparing: set[asyncio.Task[None]] = set()
        self._running = 0
        first = self._first()
        place = place_of(first, self._store)
        contents = read_contents(place)
        self.metrics = Metrics(folder, service.name, contents.data_schema, read_transform(place, contents))
        self.rival: Rival | None = None
        self.champion = self._open(first, like=None)

    @property
    def config(self) -> ServeConfig:
        """How the model is served."""
        return self._service.config

    def _first(self) -> Model:
        """Return the version that others have taken already, or else the one that the service began with."""
        wanted = self._current(self._state)
        said = self._state.answers_to(wanted.number) if wanted else ()
        return wanted.model if wanted and any(each.kind == "taken" for each in said) else self._service.model

    def _open(self, model: Model, *, like: Slot | None, apart: bool = False) -> Slot:
        folder = place_of(model, self._store)
        schema = like.bundle.schema if like else None
        opening = slot.Opening(model, folder, self.config, self.metrics, like=schema, apart=apart)
        found = slot.within(self.config.load_timeout_s, opening)
        self.metrics.loaded(
            model.version, found.bundle.runtime, schema=found.bundle.schema, transform=found.bundle.transform
        )
        return found

    def _current(self, state: State) -> Wanted | None:
        wanted = state.champion
        return wanted if wanted and wanted.number >= self._service.since else None

    def look(self) -> None:
        """Follow what is new in the history, judge the challenger; one thread calls it every now and then."""
        self.metrics.running(self._running)
        self.metrics.queued(self.champion.predict.waiting)
        self._judge()
        if self._store is None:
            return
        while self._unsaid:
            history.append(self._store, self._service.name, self._unsaid[0], self._state)
            self._unsaid.popleft()  # said: before that the storage may be out of reach
        self._state = history.read(self._store, self._service.name, self._state)
        wanted = self._current(self._state)
        if wanted and wanted.model.version != self.champion.model.version:
            self._replace(self._tried(wanted))
        self._oppose(self._challenger(self._state.challenger))

    def _replace(self, found: Slot | None) -> None:
        if found:
            before, self.champion = self.champion, found
            self.metrics.unloaded(before.model.version)

    def _oppose(self, rival: Rival | None) -> None:
        before, self.rival = self.rival, rival
        gone = before.slot.model.version if before else None
        if gone and gone not in {self.champion.model.version, rival.slot.model.version if rival else None}:
            self.metrics.unloaded(gone)

    def _challenger(self, wanted: Wanted | None) -> Rival | None:
        rival = self.rival
        if wanted is None or wanted.model.version == self.champion.model.version:
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
        if wanted.number in self._refused or self._doubtful(wanted):
            return None
        self._say("trying", wanted)
        try:
            found = self._open(wanted.model, like=self.champion, apart=apart)
        except RaymleError as error:
            self._refuse(wanted, str(error))
            return None
        if not self._still_wanted(wanted):
            self.metrics.unloaded(wanted.model.version)
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
        if time.monotonic() - since > self.config.load_timeout_s:
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

    def _judge(self) -> None:
        """Take a challenger away that misbehaves; the storage hears of it at the next look."""
        rival = self.rival
        if rival and (why := traffic.fault(rival.seen, self.config.guard)):
            self._oppose(None)
            self._refused.add(rival.wanted.number)
            self._unsaid.append(self._event("withdrawn", rival.wanted, why))
            self.metrics.challenger("withdrawn", rival.wanted.model.version)

    async def answer(self, table: pa.Table, call: Call) -> Answer:
        """Return the predictions of a request's rows, and which version made them.

        Raises:
            TimeoutError: the request's deadline passed.
            Overloaded: too many wait already.
        """
        if self.champion.predict.waiting >= self.config.queue:
            raise Overloaded
        self._running += 1
        try:
            return await self._answered(table, call)
        finally:
            self._running -= 1

    def observe(self, status: int, seconds: float, rows: int, version: str) -> None:
        """Count a request to /predict."""
        self.metrics.request(version or self.champion.model.version, status, seconds, rows)

    async def _answered(self, table: pa.Table, call: Call) -> Answer:
        rival = self.rival
        found = await self._from_challenger(rival, table, call) if rival and _is_its(rival, call) else None
        if rival and found is not None:
            self._in_background(self._compare(rival, table, found, self.champion))
            return Answer(found, rival.wanted.model.version)
        champion = self.champion
        started = time.perf_counter()
        predictions = await champion.predict(table, call.deadline)
        if rival:
            rival.seen.champion.requests += 1
            rival.seen.champion.seconds.append(time.perf_counter() - started)
            if rival.wanted.shadow:
                self._in_background(self._shadow(rival, table, predictions, call))
        return Answer(predictions, champion.model.version)

    async def _from_challenger(self, rival: Rival, table: pa.Table, call: Call) -> Predictions | None:
        """Ask the challenger, for half of the time that is left; None when it fails, and the champion answers."""
        version = rival.wanted.model.version
        self.metrics.challenger("shadow" if rival.wanted.shadow else "canary", version)
        side = rival.seen.challenger
        side.requests += 1
        started = time.monotonic()
        until = started + (call.deadline - started) / 2
        try:
            found = await asyncio.wait_for(rival.slot.predict(table, until), until - started)
        except TimeoutError:
            if call.deadline - started < self.config.timeout_s / 2:  # the caller's hurry is not the challenger's fault
                side.requests -= 1
                return None
            found = None
        except Exception:  # noqa: BLE001  whatever it raises, the champion answers
            found = None
        if found is None or not np.isfinite(found).all():
            side.errors += 1
            self.metrics.challenger("error", version)
            self._judge()
            return None
        side.seconds.append(time.monotonic() - started)
        return found

    async def _shadow(self, rival: Rival, table: pa.Table, ours: Predictions, call: Call) -> None:
        theirs = await self._from_challenger(rival, table, call)
        if theirs is not None:
            self._compared(rival, ours, theirs)

    async def _compare(self, rival: Rival, table: pa.Table, theirs: Predictions, champion: Slot) -> None:
        ours = await champion.predict(table, time.monotonic() + self.config.timeout_s)
        self._compared(rival, ours, theirs)

    def _compared(self, rival: Rival, ours: Predictions, theirs: Predictions) -> None:
        differing = traffic.differing(ours, theirs, self.champion.bundle.transform.target_std)
        rival.seen.compared += len(ours)
        rival.seen.disagreed += differing
        if differing:
            self.metrics.challenger("disagreed", rival.wanted.model.version)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Compare later, unless too many comparisons wait already."""
        if len(self._comparing) >= MOST_COMPARED:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._comparing.add(task)
        task.add_done_callback(self._comparing.discard)


def _is_its(rival: Rival, call: Call) -> bool:
    return not rival.wanted.shadow and traffic.goes_to_challenger(call.key or call.request_id, rival.wanted)

"""The versions of one replica: the champion answers, a challenger answers its share or is compared in the shadow.

What is wanted is read from the model's history; a version takes no traffic before it has proved itself, and one that
misbehaves goes at once. In-flight requests keep the version they began with.
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from raymle.config import ServeConfig
from raymle.errors import RaymleError
from raymle.serve import history, slot, traffic
from raymle.serve.app import Answer, Call
from raymle.serve.batching import Predictions
from raymle.serve.history import Event, State, Wanted
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
    """Champion and challenger of one replica."""

    def __init__(self, service: Service, replica: str, metrics: Metrics | None) -> None:
        self._service, self._replica, self._metrics = service, replica, metrics
        self._store = store_of(service)
        self._state = State()
        self._refused: set[int] = set()
        self._doubted: dict[int, float] = {}
        self._unsaid: deque[Event] = deque()
        self._comparing: set[asyncio.Task[None]] = set()
        self.rival: Rival | None = None
        self.champion = self._first()

    @property
    def config(self) -> ServeConfig:
        """How the model is served."""
        return self._service.config

    def _first(self) -> Slot:
        """Open the version that others have taken already, or else the one that the service began with."""
        model = self._service.model
        if self._store:
            self._state = history.read(self._store, self._service.name)
            wanted = self._current(self._state)
            said = self._state.answers_to(wanted.number) if wanted else ()
            if wanted and any(each.kind == "taken" for each in said):
                model = wanted.model
        return self._open(model, like=None)

    def _open(self, model: history.Model, *, like: Slot | None) -> Slot:
        folder = place_of(model, self._store)
        schema = like.bundle.schema if like else None
        return slot.within(
            self.config.load_timeout_s, model, folder, self.config, metrics=self._metrics, like=schema
        )  # fmt: skip

    def _current(self, state: State) -> Wanted | None:
        wanted = state.champion
        return wanted if wanted and wanted.number >= self._service.since else None

    def keep_up(self) -> None:
        """Read what is new in the history, and follow it; called every now and then by one thread."""
        if self._store is None:
            return
        while self._unsaid:
            history.append(self._store, self._service.name, self._unsaid.popleft())
        self._state = history.read(self._store, self._service.name, self._state)
        wanted = self._current(self._state)
        if wanted and wanted.model.version != self.champion.model.version:
            self.champion = self._tried(wanted) or self.champion
        self.rival = self._challenger(self._state.challenger)
        self._judge()

    def _challenger(self, wanted: Wanted | None) -> Rival | None:
        rival = self.rival
        if wanted is None or wanted.model.version == self.champion.model.version:
            return None
        if rival and rival.wanted.number == wanted.number:
            return rival
        found = rival.slot if rival and rival.wanted.model == wanted.model else self._tried(wanted)
        return Rival(wanted, found, Evidence()) if found else None

    def _tried(self, wanted: Wanted) -> Slot | None:
        """Open a version that was asked for, and say in the history how that went."""
        if wanted.number in self._refused or self._doubtful(wanted):
            return None
        self._say("trying", wanted)
        try:
            found = self._open(wanted.model, like=self.champion)
        except RaymleError as error:
            self._refuse(wanted, str(error))
            return None
        self._say("taken", wanted)
        return found

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
            history.append(self._store, self._service.name, self._event(kind, wanted, reason))

    def _event(self, kind: history.Kind, wanted: Wanted, reason: str) -> Event:
        return Event(kind=kind, about=wanted.number, by=self._replica, reason=reason, model=wanted.model)

    def _judge(self) -> None:
        """Take a challenger away that misbehaves; the storage hears of it at the next look."""
        rival = self.rival
        if rival and (why := traffic.fault(rival.seen, self.config.guard)):
            self.rival = None
            self._refused.add(rival.wanted.number)
            self._unsaid.append(self._event("withdrawn", rival.wanted, why))
            self._count("withdrawn", rival)

    async def answer(self, table: pa.Table, call: Call) -> Answer:
        """Return the predictions of a request's rows, and which version made them.

        Raises:
            TimeoutError: the request's deadline passed.
        """
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
        self._count("shadow" if rival.wanted.shadow else "canary", rival)
        side = rival.seen.challenger
        side.requests += 1
        started = time.monotonic()
        until = started + (call.deadline - started) / 2
        try:
            found = await asyncio.wait_for(rival.slot.predict(table, until), until - started)
        except Exception:  # noqa: BLE001  whatever it raises, the champion answers
            found = None
        if found is None or not np.isfinite(found).all():
            side.errors += 1
            self._count("error", rival)
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
            self._count("disagreed", rival)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Compare later, unless too many comparisons wait already."""
        if len(self._comparing) >= MOST_COMPARED:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._comparing.add(task)
        task.add_done_callback(self._comparing.discard)

    def _count(self, event: str, rival: Rival) -> None:
        if self._metrics:
            self._metrics.challenger(event, rival.wanted.model.version)


def _is_its(rival: Rival, call: Call) -> bool:
    return not rival.wanted.shadow and traffic.goes_to_challenger(call.key or call.request_id, rival.wanted)

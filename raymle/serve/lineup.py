"""The versions of one replica: the champion answers, a challenger answers its share or is compared in the shadow.

A challenger that misbehaves goes at once.
"""

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from raymle.config import ServeConfig
from raymle.serve import traffic
from raymle.serve.app import Answer, Call
from raymle.serve.batching import Predictions
from raymle.serve.history import Wanted
from raymle.serve.limits import Overloaded
from raymle.serve.metrics import Metrics
from raymle.serve.slot import Slot
from raymle.serve.traffic import Evidence

MOST_COMPARED = 8
"""Comparisons that may wait; more are left out: a shadow never slows the champion."""


class Rival(NamedTuple):
    """A challenger, how it was asked for, and what was seen of it."""

    wanted: Wanted
    slot: Slot
    seen: Evidence


class Fault(NamedTuple):
    """A challenger that misbehaved, and how."""

    rival: Rival
    why: str


class Lineup:
    """Champion and challenger of one replica.

    The event loop asks them, another thread exchanges them; in-flight requests keep the version they began with.

    Args:
        config: How the model is served.
        metrics: Where it is counted.
        champion: Who answers.
    """

    def __init__(self, config: ServeConfig, metrics: Metrics, champion: Slot) -> None:
        self._config, self._metrics = config, metrics
        self.champion = champion
        self.rival: Rival | None = None
        bundle = champion.bundle
        metrics.loaded(champion.model.version, bundle.runtime, schema=bundle.schema, transform=bundle.transform)
        self._faults: list[Fault] = []
        self._told = 0
        self._exchange = threading.Lock()
        self._comparing: set[asyncio.Task[None]] = set()
        self._running = 0

    def replace(self, found: Slot) -> None:
        """Let another version answer; a challenger is compared anew, with that one."""
        with self._exchange:
            rival = self.rival._replace(seen=Evidence()) if self.rival else None
            self._line_up(found, rival)

    def oppose(self, rival: Rival | None) -> None:
        """Let a version challenge the champion, or none; one that was judged meanwhile stays away."""
        with self._exchange:
            judged = rival and any(rival.slot is fault.rival.slot for fault in self._faults)
            self._line_up(self.champion, None if judged else rival)

    def _line_up(self, champion: Slot, rival: Rival | None) -> None:
        """Exchange the versions, and let the metrics know which are there."""
        before = {each.model.version: each for each in self._slots()}
        self.champion, self.rival = champion, rival
        after = {each.model.version: each for each in self._slots()}
        for version in before.keys() - after.keys():
            self._metrics.unloaded(version)
        for version in after.keys() - before.keys():
            bundle = after[version].bundle
            self._metrics.loaded(version, bundle.runtime, schema=bundle.schema, transform=bundle.transform)

    def _slots(self) -> list[Slot]:
        return [self.champion, *([self.rival.slot] if self.rival else [])]

    def has_judged(self, wanted: Wanted) -> bool:
        """Whether a challenger was taken away."""
        return any(fault.rival.wanted.number == wanted.number for fault in self._faults)

    def judge(self) -> None:
        """Take a challenger away that misbehaves, and say how much waits."""
        self._metrics.running(self._running)
        self._metrics.queued(self.champion.predict.waiting)
        rival = self.rival
        if rival and (why := traffic.fault(rival.seen, self._config.guard)):
            self._withdraw(rival, why)

    def _withdraw(self, rival: Rival, why: str) -> None:
        with self._exchange:
            if self.has_judged(rival.wanted):
                return
            self._faults.append(Fault(rival, why))
            if self.rival and self.rival.slot is rival.slot:
                self._line_up(self.champion, None)
        self._metrics.challenger("withdrawn", rival.wanted.model.version)

    def withdrawn(self) -> list[Fault]:
        """Return the challengers that were taken away since the last call."""
        new = self._faults[self._told :]
        self._told += len(new)
        return new

    @contextmanager
    def room(self) -> Iterator[None]:
        """Count a request while the block answers it.

        Raises:
            Overloaded: there are as many as may be.
        """
        if self._running >= self._config.queue + self._config.batch.max_size:
            raise Overloaded
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def answer(self, table: pa.Table, call: Call) -> Answer:
        """Return the predictions of a request's rows, and which version made them.

        Raises:
            TimeoutError: the request's deadline passed.
            Overloaded: too many wait already.
        """
        if self.champion.predict.waiting >= self._config.queue:
            raise Overloaded
        return await self._answered(table, call)

    def observe(self, status: int, seconds: float, rows: int, version: str) -> None:
        """Count a request to /predict."""
        self._metrics.request(version or self.champion.model.version, status, seconds, rows)

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
        self._metrics.challenger("shadow" if rival.wanted.shadow else "canary", version)
        side = rival.seen.challenger
        side.requests += 1
        started = time.monotonic()
        until = started + (call.deadline - started) / 2
        try:
            found = await asyncio.wait_for(rival.slot.predict(table, until), until - started)
        except TimeoutError:
            if call.deadline - started < self._config.timeout_s / 2:  # the caller's hurry is not the challenger's fault
                side.requests -= 1
                return None
            found = None
        except Exception:  # noqa: BLE001  whatever it raises, the champion answers
            found = None
        if found is None or not np.isfinite(found).all():
            side.errors += 1
            self._metrics.challenger("error", version)
            self.judge()
            return None
        side.seconds.append(time.monotonic() - started)
        return found

    async def _shadow(self, rival: Rival, table: pa.Table, ours: Predictions, call: Call) -> None:
        theirs = await self._from_challenger(rival, table, call)
        if theirs is not None:
            self._compared(rival, ours, theirs)

    async def _compare(self, rival: Rival, table: pa.Table, theirs: Predictions, champion: Slot) -> None:
        ours = await champion.predict(table, time.monotonic() + self._config.timeout_s)
        self._compared(rival, ours, theirs)

    def _compared(self, rival: Rival, ours: Predictions, theirs: Predictions) -> None:
        differing = traffic.differing(ours, theirs, self.champion.bundle.transform.target_std)
        rival.seen.compared += len(ours)
        rival.seen.disagreed += differing
        if differing:
            self._metrics.challenger("disagreed", rival.wanted.model.version)

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

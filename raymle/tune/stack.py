"""Several attempts in one actor, trained as one stacked model, with an ASHA rule of their own."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, final

from raymle import train
from raymle.data import shards
from raymle.measure.resources import size_mb
from raymle.records import Fitted
from raymle.train.stacked import Member, Told
from raymle.tune.halving import Halving
from raymle.tune.work import Work


@final
class Stack:
    """Trainings that are stepped together; each ends by itself."""

    def __init__(self, work: Work, members: Sequence[Mapping[str, Any]], halving: Halving | None) -> None:
        """Make a stack.

        Args:
            work: What all trials share.
            members: Run and values of each attempt.
            halving: Stops bad attempts; it has heard what was reported before.
        """
        specs = [work.varied(member["values"]) for member in members]
        self._work, self._halving = work, halving
        self._ids = [str(member["run_id"]) for member in members]
        for run_id in self._ids:
            work.store.remove(f"runs/{run_id}/bundle")
        self._told = train.fit_stack(
            [Member(spec.train, spec.model, work.out(run_id)) for run_id, spec in zip(self._ids, specs, strict=True)],
            shards.here(work.splits, work.spec.storage),
            metric=work.metric,
            folder=work.spec.folder,
            transforms=work.spec.data.transforms,
        )
        self._best = dict.fromkeys(range(len(members)), math.nan)
        self._stopping: set[int] | None = None
        self._stopped: set[int] = set()
        self._over: set[int] = set()
        self._epoch, self._seconds = 0, 0.0

    def step(self) -> dict[str, Any]:
        """Train one epoch of all that are left."""
        members = self._step(self._stopping)
        scores = [score for score in self._best.values() if not math.isnan(score)] or [math.nan]
        score = max(scores) if self._work.is_maximised else min(scores)
        return {"members": members, "score": score, "epoch": self._epoch, "done": len(self._over) == len(self._ids)}

    def leave(self) -> dict[str, Any]:
        """End all early, with their best weights."""
        members: list[dict[str, Any]] = []
        while len(self._over) < len(self._ids):
            members += self._step(set(self._best) - self._over)
        return {"members": members}

    def enter(self, left: dict[str, Any]) -> None:
        """Do nothing: a stack is one attempt of all its members, and never starts in the middle."""

    def close(self) -> None:
        """Let go of the arrays."""
        self._told.close()

    def _step(self, stopping: set[int] | None) -> list[dict[str, Any]]:
        started, alive = time.monotonic(), max(1, len(self._ids) - len(self._over))
        self._stopped |= stopping or set()
        try:
            told = next(self._told) if self._epoch == 0 else self._told.send(stopping)
        except Exception as error:  # noqa: BLE001  one reason for all of them; the actor survives it
            told = Told({}, {place: f"{type(error).__name__}: {error}" for place in set(self._best) - self._over})
        self._seconds += (time.monotonic() - started) / alive
        self._stopping = set()
        return [*self._reports(told), *self._ends(told)]

    def _reports(self, told: Told) -> list[dict[str, Any]]:
        found = []
        for place, epoch in sorted(told.reports.items()):
            self._epoch = max(self._epoch, epoch.epoch)
            self._best[place] = self._work.score(self._best[place], epoch)
            assert self._stopping is not None
            if self._halving and not self._halving.hear(self._ids[place], epoch.epoch, self._best[place]):
                self._stopping.add(place)
            found.append(self._member(place) | {"score": self._best[place], "report": epoch.model_dump()})
        return found

    def _ends(self, told: Told) -> list[dict[str, Any]]:
        self._over |= set(told.ends)
        for place in told.ends:
            if self._stopping:
                self._stopping.discard(place)
        return [self._member(place) | self._end(place, end) for place, end in sorted(told.ends.items())]

    def _end(self, place: int, end: Fitted | str) -> dict[str, Any]:
        if isinstance(end, str):
            return {"reason": end}
        size = size_mb(self._work.out(self._ids[place]))
        return {"fitted": end.model_dump(), "size_mb": size, "stopped": place in self._stopped}

    def _member(self, place: int) -> dict[str, Any]:
        return {"run_id": self._ids[place], "seconds": self._seconds}

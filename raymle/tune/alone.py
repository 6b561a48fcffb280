"""One attempt in its actor: its training, epoch by epoch."""

import math
import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any, final

from raymle import runtime, train
from raymle.config import Spec
from raymle.errors import RaymleError, WorkError
from raymle.measure.resources import size_mb
from raymle.records import Epoch, Fitted
from raymle.train import checkpoint, stop
from raymle.train.best import SAVE, STOP
from raymle.train.checkpoint import Position
from raymle.tune.work import Work

PUT_AWAY_S = 60.0
"""How long Ray has to take back the workers of a trial, before the next one."""


@final
class Alone:
    """One training that is stepped, left and entered."""

    def __init__(self, work: Work, run_id: str, values: dict[str, Any]) -> None:
        self._work, self._run_id = work, run_id
        self._spec = work.varied(values)
        self._epochs = work.start(run_id, self._spec)
        self._best, self._seconds = math.nan, 0.0
        self._last = Epoch(epoch=0, step=0, metrics={})
        self._entered: dict[str, Any] = {}

    def step(self) -> dict[str, Any]:
        """Train one epoch. A failure is an answer too, so that the actor survives it."""
        started = time.monotonic()
        try:
            return self._told(self._epoch(), started)
        except StopIteration as end:
            self._put_away()
            return self._told(self._made(end.value), started, is_done=True)
        except Exception as error:  # noqa: BLE001  the user's model may raise anything
            self._epochs.close()
            self._put_away()
            return self._told({"reason": reason(error)}, started, is_done=True)

    def leave(self) -> dict[str, Any]:
        """Keep the state of a trial that may go on; of one that may not, the best weights: it may be the winner."""
        if self._work.pauses:
            self._epochs.send(SAVE)
            return {
                "run_id": self._run_id, "paused_at": self._last.epoch, "score": self._best, "seconds": self._seconds,
            }  # fmt: skip
        told: dict[str, Any] = {"run_id": self._run_id, "stopped": True, "seconds": self._seconds}
        try:
            fitted = self._stopped_group() if train.is_group(self._spec.train) else _ended(self._epochs)
        except Exception as error:  # noqa: BLE001  as in a step
            return told | {"reason": reason(error)}
        self._put_away()
        return told | self._made(fitted)

    def enter(self, left: dict[str, Any]) -> None:
        """Go on with the state that this attempt or another one left."""
        store, source, wanted = self._work.store, left["run_id"], Position(left["paused_at"], 0)
        is_other = source != self._run_id
        found = checkpoint.copy(store, source, self._run_id, wanted) if is_other else wanted
        reports = [next(self._epochs) for _ in range(found.epochs)]  # they are told again
        self._last, self._best = reports[-1], left["score"]
        self._seconds = 0.0 if is_other else left["seconds"]
        if is_other:
            self._entered = {"entered": {"run_id": source, "reports": [report.model_dump() for report in reports]}}

    def close(self) -> None:
        """Let go of the arrays."""
        self._epochs.close()

    def _epoch(self) -> dict[str, Any]:
        epoch = next(self._epochs)
        self._best = self._work.score(self._best, epoch)
        self._last = epoch
        return {"score": self._best, "report": epoch.model_dump()}

    def _told(self, told: dict[str, Any], started: float, *, is_done: bool = False) -> dict[str, Any]:
        self._seconds += time.monotonic() - started
        member = {"run_id": self._run_id, "seconds": self._seconds, **told, **self._entered}
        self._entered = {}
        return {"members": [member], "score": self._best, "epoch": self._last.epoch, "done": is_done}

    def _made(self, fitted: Fitted) -> dict[str, Any]:
        return {"fitted": fitted.model_dump(), "size_mb": size_mb(self._work.out(self._run_id))}

    def _stopped_group(self) -> Fitted:
        """End workers of their own through the storage, and make the bundle of what they have kept."""
        store = self._work.store
        stop.ask(store, self._run_id)
        with suppress(KeyboardInterrupt):
            return _drained(self._epochs)
        runtime.wait_for_users(PUT_AWAY_S)  # what they keep last is kept when they are gone
        return finished(self._work, self._run_id, self._spec)

    def _put_away(self) -> None:
        """Leave nothing behind that the trial does not need any more: workers, the wish to stop, checkpoints."""
        store = self._work.store
        if train.is_group(self._spec.train):
            runtime.wait_for_users(PUT_AWAY_S)  # a group whose actor has ended keeps its place for ever
            stop.forget(store, self._run_id)
        if not self._work.pauses and (store.root / checkpoint.folder_of(self._run_id)).exists():
            checkpoint.forget(store, self._run_id)  # else another trial may still go on from them


def reason(error: Exception) -> str:
    """Say in a line why a training failed; it is never empty."""
    name = "" if isinstance(error, RaymleError) else type(error).__name__
    return ": ".join(filter(None, (name, str(error).strip()))) or type(error).__name__


def finished(work: Work, run_id: str, spec: Spec) -> Fitted:
    """Make the bundle of an attempt from its newest checkpoint, without a further epoch.

    Raises:
        ArtifactError: every checkpoint is damaged.
        WorkError: there is none that holds an epoch.
    """
    position = checkpoint.required(work.store, run_id).position
    if position is None or not position.epochs:
        raise WorkError("it was stopped before its first checkpoint")
    done = {"epochs": position.epochs, "workers": 1}
    fitted = _drained(work.start(run_id, spec.model_copy(update={"train": spec.train.model_copy(update=done)})))
    checkpoint.forget(work.store, run_id)
    return fitted.model_copy(update={"workers": train.count(spec.train)})


def _ended(epochs: Generator[Epoch, Any, Fitted]) -> Fitted:
    while True:
        try:
            epochs.send(STOP)
        except StopIteration as end:
            fitted: Fitted = end.value
            return fitted


def _drained(epochs: Generator[Epoch, Any, Fitted]) -> Fitted:
    while True:
        try:
            next(epochs)
        except StopIteration as end:
            fitted: Fitted = end.value
            return fitted

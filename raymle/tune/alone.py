"""One attempt in its actor: its training, epoch by epoch."""

import math
import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any, final

from raymle import train
from raymle.config import Spec
from raymle.errors import RaymleError
from raymle.records import Epoch, Fitted
from raymle.train import checkpoint, stop
from raymle.train.best import SAVE, STOP
from raymle.tune.work import Work


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
            self._forget()
            return self._told({"fitted": end.value.model_dump()}, started, is_done=True)
        except RaymleError as error:
            return self._failed(str(error), started)
        except Exception as error:  # noqa: BLE001  the user's model may raise anything
            return self._failed(f"{type(error).__name__}: {error}", started)

    def leave(self) -> dict[str, Any]:
        """Keep the state of a trial that may go on; of one that may not, the best weights: it may be the winner."""
        if self._work.pauses:
            self._epochs.send(SAVE)
            return {"run_id": self._run_id, "paused_at": self._last.epoch, "score": self._best}
        fitted = self._stopped_group() if train.is_group(self._spec.train) else _ended(self._epochs)
        self._forget()
        return {"run_id": self._run_id, "fitted": fitted.model_dump(), "stopped": True, "seconds": self._seconds}

    def enter(self, left: dict[str, Any]) -> None:
        """Go on with the state that this attempt or another one left."""
        position = checkpoint.copy(self._work.store, left["run_id"], self._run_id)
        done = position.epochs if position else 0
        for _ in range(done):  # they are reported again
            self._last = next(self._epochs)
        self._best = left["score"]
        if left["run_id"] != self._run_id:
            self._entered = {"entered": {"run_id": left["run_id"], "epochs": done}}

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

    def _failed(self, reason: str, started: float) -> dict[str, Any]:
        self._epochs.close()
        return self._told({"reason": reason or "it failed without a word"}, started, is_done=True)

    def _stopped_group(self) -> Fitted:
        """End workers of their own through the storage, and make the bundle of what they have kept."""
        store = self._work.store
        stop.ask(store, self._run_id)
        with suppress(KeyboardInterrupt):
            return _drained(self._epochs)
        stop.forget(store, self._run_id)
        return finished(self._work, self._run_id, self._spec)

    def _forget(self) -> None:
        store = self._work.store
        if (store.root / checkpoint.folder_of(self._run_id)).exists():
            checkpoint.forget(store, self._run_id)


def finished(work: Work, run_id: str, spec: Spec) -> Fitted:
    """Make the bundle of an attempt from its newest checkpoint, without a further epoch.

    Raises:
        ArtifactError: every checkpoint is damaged.
    """
    position = checkpoint.required(work.store, run_id).position
    done = {"epochs": position.epochs if position else 0, "workers": 1}
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

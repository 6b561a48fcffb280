"""How the caller's process hears of a Ray Train run: a file that the controller, on the same node, appends to."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, final

from ray.train import UserCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from raymle.records import Epoch
from raymle.runtime import USES_RAY

POLL_S = 0.05
STOP_POLL_S = 1.0
PATIENCE_S = 7.0
"""How long workers have to answer the wish that they stop."""


def relay(path: Path) -> UserCallback:
    """Make what runs in the controller and writes rank 0's epochs and outcome where the caller's process reads them.

    A class of its own inside a function travels by value: the controller then imports neither raymle nor torch.
    """

    class Relay(UserCallback):
        def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:  # noqa: ARG002
            if "outcome" in metrics[0]:
                draft = path.with_suffix(".draft")
                draft.write_bytes(metrics[0]["outcome"])
                draft.rename(path.with_suffix(".outcome"))
                return
            with path.open("a") as file:
                file.write(json.dumps(metrics[0]) + "\n")

    return Relay()


@final
class Background:
    """A Ray Train run in a thread, which ends with the process if nobody waits for it."""

    def __init__(self, trainer: DataParallelTrainer) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._fit, args=(trainer,), daemon=True, name=USES_RAY)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the run goes on."""
        return self._thread.is_alive()

    def result(self) -> NoReturn:
        """Raise what ended the run before it had an outcome."""
        self._thread.join()
        raise self._error or RuntimeError("it ended without an outcome")

    def _fit(self, trainer: DataParallelTrainer) -> None:
        try:
            trainer.fit()
        except BaseException as error:  # noqa: BLE001  handed to the thread that waits
            self._error = error


def tail(history: Path, fit: Background, *, is_stopped: Callable[[], bool]) -> Iterator[Epoch]:
    """Yield the epochs as they are written, until the outcome is there or the run has ended, and all are read.

    Raises:
        KeyboardInterrupt: the run was asked to stop, and the workers do not answer: they may not be up yet.
    """
    outcome = history.with_suffix(".outcome")
    asked = looked = time.monotonic()
    with history.open() as file:
        rest = ""
        while True:
            was_running = fit.is_running and not outcome.exists()
            rest += file.read()
            *lines, rest = rest.split("\n")
            yield from map(Epoch.model_validate_json, lines)
            if not was_running:
                return
            now = time.monotonic()
            if now - looked > STOP_POLL_S:
                looked, asked = now, asked if is_stopped() else now
            if now - asked > PATIENCE_S:
                raise KeyboardInterrupt
            if not lines:
                time.sleep(POLL_S)

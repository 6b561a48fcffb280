"""Taking turns: a process waits at its parent's socket, works when it is told to, and answers."""

import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple


class Turn(NamedTuple):
    """What is asked for: the first steps of an epoch, shuffled by its number."""

    epoch: int
    steps: int


class Seat:
    """One process's place at the parent's socket."""

    def __init__(self, path: str, **marks: float) -> None:
        """Sit down, and tell the parent when this process was how far, as times of the clock."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._file = self._socket.makefile("rw")
        self._started = 0.0
        self._say(marks | {"pid": os.getpid(), "ready": time.time()})

    def turns(self) -> Iterator[Turn]:
        """Yield each turn when it comes, until the parent hangs up; waiting costs nothing."""
        for line in self._file:
            turn = Turn(**json.loads(line))
            self._started = time.perf_counter()
            yield turn

    def answer(self, loss: float) -> None:
        """Tell the parent how long the turn took, and its mean loss."""
        self._say({"ms": 1000 * (time.perf_counter() - self._started), "loss": loss})

    def _say(self, what: dict[str, Any]) -> None:
        print(json.dumps(what), file=self._file, flush=True)

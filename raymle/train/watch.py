"""A worker that makes no step any more writes down what each of its threads does, and ends.

faulthandler's own thread does the writing: it needs no help from a main thread that hangs in native code.
"""

import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, final

FIRST = 10
"""How many times the longest step the first epoch of a process may take: it reads the data, too."""
LATER = 20
"""How many times the longest epoch so far a later one may take."""
GRACE_S = 2.0
"""Between the stacks and the end: the others, who wait for this worker, write theirs meanwhile."""
REARM_S = 1.0


@final
class Watch:
    """Armed by its first beat; ends the process when a beat does not come in time."""

    def __init__(self, stacks: Path, timeout_s: float) -> None:
        """Watch over this process.

        Args:
            stacks: The file that the stacks are written to.
            timeout_s: Longest time between two beats.
        """
        self._path, self._timeout_s = stacks, timeout_s
        self._file: TextIO | None = None
        self._last = 0.0
        self._closed = threading.Event()

    def beat(self) -> None:
        """Say that there is progress."""
        now = time.monotonic()
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a")
            self._last = now
            threading.Thread(target=self._end, daemon=True).start()
        elif now - self._last < REARM_S:
            return
        self._last = now
        faulthandler.dump_traceback_later(self._timeout_s, file=self._file)
        self._file.truncate(0)  # what was written of a hang that has passed

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        if self._file is not None:
            faulthandler.cancel_dump_traceback_later()
            self._file.close()
            self._file = None

    def _end(self) -> None:
        """Leave the process when its stacks have been written."""
        limit = self._timeout_s + GRACE_S
        while not self._closed.wait(max(0.05, self._last + limit - time.monotonic())):
            if time.monotonic() - self._last >= limit:
                os._exit(1)


@final
class EpochWatch:
    """Ends a process in which an epoch takes far longer than any before, with its stacks in a file."""

    def __init__(self, timeout_s: float) -> None:
        """Watch over this process.

        Args:
            timeout_s: Longest time that a step may take; no epoch is cut shorter.
        """
        self._timeout_s = timeout_s
        self._longest = 0.0

    @contextmanager
    def epoch(self, stacks: Path) -> Iterator[None]:
        """Watch the block; its stacks go into this file, which stays only when it was too slow."""
        limit = max(self._timeout_s, LATER * self._longest) if self._longest else FIRST * self._timeout_s
        stacks.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with stacks.open("w") as file:
            faulthandler.dump_traceback_later(limit, exit=True, file=file)
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()
        stacks.unlink()
        self._longest = max(self._longest, time.monotonic() - started)

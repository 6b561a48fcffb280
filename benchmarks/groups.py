"""Groups of two workers in processes of their own, which work only when it is their turn."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

START_S = 120
END_S = 60


class Group:
    """Two workers that wait for their turn."""

    def __init__(self, files: list[Any], process: subprocess.Popen[bytes], log: Path, started: float) -> None:
        self.files, self.process, self.log, self.started = files, process, log, started
        hello = [self._read(file) for file in files]
        self.pids = {each.pop("pid") for each in hello}
        self.marks = {name: max(each[name] for each in hello) - started for name in hello[0]}
        """Seconds from the command until both workers were so far."""

    def turn(self, epoch: int, steps: int) -> dict[str, float]:
        """Let both work; return the slower one's answer."""
        for file in self.files:
            print(json.dumps({"epoch": epoch, "steps": steps}), file=file, flush=True)
        return max((self._read(file) for file in self.files), key=lambda answer: answer["ms"])

    def cpu_seconds(self) -> float:
        """CPU seconds so far of the command and all that it started, but for the workers."""
        own = psutil.Process(self.process.pid)
        others = [each for each in own.children(recursive=True) if each.pid not in self.pids]
        return sum(sum(each.cpu_times()[:2]) for each in (own, *others))

    def _read(self, file: Any) -> dict[str, float]:
        if not (line := file.readline()):
            raise SystemExit(f"a worker is gone\n{self.log.read_text()[-3000:]}")
        return json.loads(line)


@contextmanager
def group(argv: list[str], folder: Path, name: str, more: list[str]) -> Iterator[Group]:
    """Start a command whose two workers sit down at a socket, and let them take one step; they end with the block.

    Args:
        argv: The command; the socket's path and ``more`` are put after it.
        folder: Where it runs, and where the socket and the log are.
        name: Of both.
        more: Its other arguments.
    """
    path, log = folder / f"{name}.sock", folder / f"{name}.log"
    with socket.socket(socket.AF_UNIX) as table, log.open("wb") as out:
        table.bind(str(path))
        table.listen()
        table.settimeout(START_S)
        started = time.time()
        with subprocess.Popen([*argv, str(path), *more], cwd=folder, stdout=out, stderr=out) as process:
            try:
                seats = [_seat(table, log) for _ in range(2)]
                found = Group([seat.makefile("rw") for seat in seats], process, log, started)
                found.turn(0, 1)
                found.marks["stepped"] = time.time() - started
                yield found
                for seat in seats:
                    seat.shutdown(socket.SHUT_RDWR)  # no more turns
                process.wait(END_S)
            finally:
                process.terminate()


def _seat(table: socket.socket, log: Path) -> socket.socket:
    try:
        seat, _ = table.accept()
    except TimeoutError:
        raise SystemExit(f"no worker after {START_S} s\n{log.read_text()[-3000:]}") from None
    seat.settimeout(START_S)
    return seat

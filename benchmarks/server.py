"""A server as a process: started, asked until it answers, ended with all its children."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

READY_S, END_S, LOOK_S = 180, 60, 0.2


@dataclass
class Server:
    """One that runs."""

    url: str
    """Where rows are posted."""
    root: psutil.Process
    ready_s: float = 0.0
    """From its start to its first answer."""
    seen: set[psutil.Process] = field(default_factory=set)
    """Every child that was looked at: one that outlives its parent is no child any more."""

    def family(self) -> list[psutil.Process]:
        """Return the server's children that live, however far down."""
        with suppress(psutil.NoSuchProcess):
            self.seen.update(self.root.children(recursive=True))
        return [each for each in self.seen if each.is_running() and _title(each)]

    def named(self, *titles: str) -> list[psutil.Process]:
        """Return the children whose command begins with one of these."""
        return [each for each in self.family() if _title(each).startswith(titles)]


def _title(process: psutil.Process) -> str:
    """Return the first word of a command line, without its folders; empty for a process that has ended."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return ""
    return words[0].rsplit("/", 1)[-1] if words else ""


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post(url: str, body: bytes, seconds: float = 30) -> Any:
    """Return the JSON that a POST is answered with."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=seconds) as response:
        return json.load(response)


@contextmanager
def started(
    argv: Sequence[str], folder: Path, *, url: str, body: bytes, environ: dict[str, str], end: int = signal.SIGTERM
) -> Iterator[Server]:
    """Start a command and wait until it answers the body; at the end of the block nothing of it is left."""
    log = folder / "server.log"
    began = time.perf_counter()
    with log.open("w") as file, subprocess.Popen(argv, cwd=folder, env=environ, stdout=file, stderr=file) as process:
        server = Server(url, psutil.Process(process.pid))
        try:
            _wait(server, process, body, log)
            server.ready_s = time.perf_counter() - began
            yield server
        finally:
            _end(server, process, end)


def _wait(server: Server, process: "subprocess.Popen[bytes]", body: bytes, log: Path) -> None:
    until = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < until:
        try:
            post(server.url, body)
        except OSError:  # not there yet, or there and not ready
            time.sleep(LOOK_S)
        else:
            return
    raise SystemExit(f"{' '.join(process.args)} does not answer:\n{log.read_text()[-3000:]}")


def _end(server: Server, process: "subprocess.Popen[bytes]", end: int) -> None:
    server.family()
    process.send_signal(end)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        print(f"{process.args} did not end in {END_S} s", file=sys.stderr)
        process.kill()
    _, left = psutil.wait_procs(list(server.seen), timeout=20)
    for each in left:
        print(f"left behind: {each}", file=sys.stderr)
        each.kill()


def load_average() -> str:
    """Return what else the machine has to do, as the kernel counts it."""
    return f"{os.getloadavg()[0]:.1f}"

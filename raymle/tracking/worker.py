"""The process that sends journals to MLflow, one at a time for a storage, until its standard input ends."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from raymle.errors import ArtifactError, ConflictError, RaymleError
from raymle.tracking import client, replay, sent
from raymle.tracking.journal import Journal, is_abandoned, read
from raymle.tracking.sender import FLUSH_S

if TYPE_CHECKING:
    from mlflow import MlflowClient

TICK_S = 1.0
TRIES = 3


def main() -> None:
    """Read the job from standard input, send, and answer with what is left on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(10)  # training goes first
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # MLflow prints
    job = json.loads(sys.stdin.readline())
    ended = threading.Event()

    def watch() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    reason = Worker(job).run(ended)
    answer.write(json.dumps({"reason": reason}))
    answer.close()
    os._exit(0)  # MLflow's own threads are not worth a wait


@final
class Worker:
    """Sends one storage's journals to one address, its own run's first."""

    def __init__(self, job: dict[str, Any]) -> None:
        from filelock import FileLock

        self._root = Path(job["root"])
        self._uri = str(job["uri"])
        self._artifacts = job["artifacts"]
        self._run: str | None = job["run"]
        self._client: MlflowClient | None = None
        self._known: dict[Path, int] = {}
        self._parents: dict[Path, str] = {}
        self._moved = False
        (self._root / "locks").mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._root / "locks" / f"sender-{client.digest(self._uri)}.lock")

    def run(self, ended: threading.Event) -> str:
        """Send until the end has come and our own is sent. Return why something is left, or nothing."""
        failures, deadline = 0, float("inf")
        while True:
            closing = ended.is_set()
            if closing:
                deadline = min(deadline, time.monotonic() + FLUSH_S - 2)
            self._moved = False
            reason = self._pass(deadline)
            if closing and not self._left():
                return ""
            failures = 0 if self._moved or not reason else failures + 1
            if closing and (failures >= TRIES or time.monotonic() > deadline):
                return reason or "not all of it was taken"
            _pause(ended, TICK_S if not failures else min(0.5 * 2**failures, 10), closing=closing)

    def _pass(self, deadline: float) -> str:
        """Send every journal once, ours first. Return what stopped it, or nothing."""
        from filelock import Timeout

        try:
            if not self._lock.is_locked:
                self._lock.acquire(timeout=0)
        except Timeout:
            return ""  # another raymle process sends ours too; it goes on when that one ends
        reason = ""
        waiting = list(sent.unsent(self._root, self._uri, known=self._known))
        for path in sorted(waiting, key=lambda path: not self._is_ours(path)):
            if time.monotonic() > deadline:
                return f"MLflow at {client.redacted(self._uri)} is slow"
            try:
                self._send(path)
            except RaymleError as error:
                print(error, file=sys.stderr)  # noqa: T201  one journal does not stop the others
                reason = str(error) if self._is_ours(path) else reason
            except Exception as error:  # noqa: BLE001  whatever a server or driver throws: tried again later
                print(f"{path.stem}: {error!r}", file=sys.stderr, flush=True)  # noqa: T201
                return f"MLflow at {client.redacted(self._uri)}: {client.brief(error)}"
        return reason

    def _send(self, path: Path) -> None:
        if self._client is None:
            self._client = client.connect(self._uri, retries=0)  # its own retries would create a run twice
        _bury(path)
        size = path.stat().st_size
        before = sent.load(path, self._uri).offset
        target = replay.Target(self._client, self._uri, self._root, self._artifacts)
        try:
            if replay.send(target, path) == size:
                self._known[path] = size
        finally:
            self._moved |= sent.load(path, self._uri).offset > before

    def _is_ours(self, path: Path) -> bool:
        if self._run is None:
            return is_abandoned(path)
        if path not in self._parents:
            parent = _parent(path)
            if parent is None:
                return path.stem == self._run
            self._parents[path] = parent
        return self._run in (path.stem, self._parents[path])

    def _left(self) -> bool:
        return any(self._is_ours(path) for path in sent.unsent(self._root, self._uri, known=self._known))


def _parent(path: Path) -> str | None:
    """Return the id of a run's parent, empty for none; None while the journal does not say."""
    try:
        start = next(read(path), None)
    except ArtifactError:
        return None
    return None if start is None else start.event.get("parent") or ""


def _bury(path: Path) -> None:
    """Note the end of a run whose process died without a word."""
    if not is_abandoned(path):
        return
    try:
        journal = Journal(path)
    except ConflictError:
        return
    entries = list(read(path))
    ends = [entry.event["status"] for entry in entries if entry.event["do"] == "finish"]
    if entries and entries[-1].event["do"] != "finish":
        was_finished = {"again": True} if "finished" in ends else {}  # what was added later was cut short
        journal.append({"do": "finish", "at": time.time_ns() // 1_000_000, "status": "killed", **was_finished})
    journal.close()


def _pause(ended: threading.Event, seconds: float, *, closing: bool) -> None:
    if closing:
        time.sleep(seconds)
    else:
        ended.wait(seconds)

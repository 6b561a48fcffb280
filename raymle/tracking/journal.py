"""A run's local journal: ``length crc32 json`` a line, written before anything is sent anywhere.

A torn last line is what a kill leaves and is dropped; a bad line before it is damage and an error.
"""

import fcntl
import json
import os
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, final

from raymle.errors import ArtifactError, ConflictError, ResourceError

SYNC_S = 1.0
Event = dict[str, Any]


class Entry(NamedTuple):
    """One event, and the offset in bytes where its line ends."""

    event: Event
    end: int


@final
class Journal:
    """The one writer of a journal; the kernel frees its lock when the process dies.

    Raises:
        ConflictError: another process is writing it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if not _locked(self._file):
            os.close(self._file)
            raise ConflictError(f"run {path.stem} is being written by another process")
        os.ftruncate(self._file, whole(path))
        self._guard = threading.Lock()
        self._synced = time.monotonic()

    def append(self, event: Mapping[str, Any]) -> None:
        """Add one event; it survives the kill of any process once this returns."""
        line = encode(event)
        with self._guard:
            start = os.fstat(self._file).st_size
            try:
                written = os.write(self._file, line)
            except OSError as error:
                written, reason = -1, str(error)
            else:
                reason = "the disk is full"
            if written != len(line):
                os.ftruncate(self._file, start)  # half a line in the middle would damage the journal
                raise ResourceError(f"cannot write {self.path}: {reason}", hint="free some disk space")
            if time.monotonic() - self._synced > SYNC_S:
                self._sync()

    def close(self) -> None:
        """Wait until the disk has everything, and let go."""
        self._sync()
        os.close(self._file)

    def _sync(self) -> None:
        os.fdatasync(self._file)
        self._synced = time.monotonic()


def encode(event: Mapping[str, Any]) -> bytes:
    """Return an event's line."""
    body = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
    return b"%d %08x %s\n" % (len(body), zlib.crc32(body), body)


def read(path: Path, offset: int = 0) -> Iterator[Entry]:
    """Yield the whole events from an offset on.

    Raises:
        ArtifactError: a line that is not the last one is damaged.
    """
    with path.open("rb") as file:
        file.seek(offset)
        lines = file.read().split(b"\n")[:-1]  # what follows the last newline is torn
    for number, line in enumerate(lines, 1):
        offset += len(line) + 1
        event = _decode(line)
        if event is not None:
            yield Entry(event, offset)
        elif number < len(lines):
            raise ArtifactError(
                f"{path} is damaged before byte {offset}",
                hint="what was sent before is safe; restore the file",
            )


def whole(path: Path) -> int:
    """Return the size in bytes of a journal without its torn last line."""
    end = 0
    for entry in read(path):
        end = entry.end
    return end


def is_abandoned(path: Path) -> bool:
    """Whether no process writes the journal."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _locked(file: int) -> bool:
    """Take the lock; a sender that only asks whether it is free holds it for a moment."""
    for _ in range(20):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def _decode(line: bytes) -> Event | None:
    try:
        size, checksum, body = line.split(b" ", 2)
        if int(size) != len(body) or int(checksum, 16) != zlib.crc32(body):
            return None
        event: Event = json.loads(body)
    except ValueError:
        return None
    return event

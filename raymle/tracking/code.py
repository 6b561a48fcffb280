"""What code, packages and machine made a run, and what it printed."""

import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO, final

from raymle.records import Record

SOURCES = (".py", ".yaml", ".yml", ".toml", ".sql")
SKIPPED = ("__pycache__", "node_modules", "site-packages", "build", "dist")
SECRET = re.compile(r"(?i)secret|credential|passw")
MOST_FILES = 2000
MOST_BYTES = 1_000_000


class Source(Record):
    """The state of the code in a folder."""

    commit: str | None
    dirty: bool
    diff: str
    """What differs from the commit in tracked files, up to 1 MB."""
    digest: str
    """sha256 over the names and contents of the source files."""


def source_state(folder: str | Path, *, archive: Path | None = None) -> Source:
    """Describe the code in a folder; git need not be there.

    Args:
        folder: Where the spec and the user's own code are.
        archive: Zip file to write the sources to, byte for byte the same for the same sources.
    """
    root = Path(folder).resolve()
    names = sources(root)
    total = hashlib.sha256()
    for name in names:
        total.update(f"{name}\0".encode() + hashlib.sha256((root / name).read_bytes()).digest())
    if archive:
        _zip(root, names, archive)
    commit = _git(root, "rev-parse", "HEAD").strip() or None
    return Source(
        commit=commit,
        dirty=bool(commit and _git(root, "status", "--porcelain", "--", ".").strip()),
        diff=_git(root, "diff", "HEAD", "--", ".")[:MOST_BYTES] if commit else "",
        digest=total.hexdigest(),
    )


def sources(root: Path) -> list[str]:
    """Return the names of the source files under a folder, sorted; none hidden, none over 1 MB."""
    found: list[str] = []
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if _is_ours(Path(place) / name))
        for name in sorted(files):
            path = Path(place) / name
            if (
                path.suffix in SOURCES
                and name[0] != "."
                and not SECRET.search(name)
                and path.stat().st_size <= MOST_BYTES
            ):
                found.append(str(path.relative_to(root)))
        if len(found) > MOST_FILES:
            break
    return sorted(found[:MOST_FILES])


def environment_lock() -> list[str]:
    """Return every installed package as ``name==version``, sorted."""
    found = {(dist.metadata["Name"], dist.version) for dist in importlib.metadata.distributions()}
    return sorted(f"{name}=={version}" for name, version in found if name)


def machine() -> dict[str, str]:
    """Return what of this machine can change a result: Python, torch, platform and cores."""
    return {
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "platform": platform.platform(),
        "cpus": str(os.cpu_count()),
        "cpus_usable": str(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else "",
    }


@contextmanager
def tee_stdout(path: Path) -> Iterator[None]:
    """Copy what Python code prints inside the block to a file too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("a", encoding="utf-8", buffering=1) as file,
        redirect_stdout(_Tee(sys.stdout, file)),
        redirect_stderr(_Tee(sys.stderr, file)),
    ):
        yield


@final
class _Tee:
    """A stream that writes to two places; a terminal stays a terminal."""

    def __init__(self, stream: Any, copy: TextIO) -> None:
        self._stream = stream
        self._copy = copy

    def write(self, text: str) -> int:
        if not self._copy.closed:  # a thread or handler may have kept us
            self._copy.write(text)
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _is_ours(folder: Path) -> bool:
    if folder.name.startswith(".") or folder.name in SKIPPED:
        return False
    return not any((folder / mark).exists() for mark in ("pyvenv.cfg", "mlflow.db", "ledger", "journals"))


def _zip(root: Path, names: list[str], archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            entry = zipfile.ZipInfo(name)  # its fixed date makes the zip depend on the sources alone
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, (root / name).read_bytes())


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""  # no git, no repository, or no commit yet
    return done.stdout.decode(errors="replace")

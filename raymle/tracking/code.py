"""What code, packages and machine made a run, and what it printed."""

import hashlib
import importlib.metadata
import os
import platform
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO, final

import raymle
from raymle.records import Environment, Record
from raymle.tracking import git

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
    """What differs from the commit in tracked files, by their paths in the folder; up to 1 MB."""
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
    if archive:
        _zip(root, names, archive)
    commit = git.text(root, "rev-parse", "HEAD").strip() or None
    return Source(
        commit=commit,
        dirty=bool(commit and git.text(root, "status", "--porcelain", "--", ".").strip()),
        diff=git.text(root, "diff", "HEAD", "--relative", "--", ".")[:MOST_BYTES] if commit else "",
        digest=digest(root, names),
    )


def digest(root: Path, names: Iterable[str]) -> str:
    """Return the sha256 over the names and contents of files under a folder."""
    total = hashlib.sha256()
    for name in names:
        total.update(f"{name}\0".encode() + hashlib.sha256((root / name).read_bytes()).digest())
    return total.hexdigest()


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
    """Return every installed package as ``name==version``, sorted; not those that Ray brings for itself."""
    places = [place for place in sys.path if "thirdparty_files" not in place]
    found = importlib.metadata.distributions(path=places)
    parsed = [each.metadata for each in found]  # each access parses the file again
    return sorted({f"{each['Name']}=={each['Version']}" for each in parsed if each["Name"]})


def environment() -> Environment:
    """Return the packages and the machine of this process."""
    packages = dict(line.split("==", 1) for line in environment_lock())
    packages |= {"raymle": raymle.__version__, "Python": platform.python_version()}
    ours = Path(raymle.__file__).parent
    return Environment(packages=packages, machine=machine(), raymle=digest(ours, sources(ours)))


def machine() -> dict[str, str]:
    """Return what of this machine can change a result: Python, torch, platform, processor and cores."""
    return {
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "platform": platform.platform(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cpus": str(os.cpu_count()),
        "cpus_usable": str(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else "",
    }


def _processor() -> str:
    """Return the processor's model, as Linux or Python names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


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

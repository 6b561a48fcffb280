"""Where the predictions go: one parquet file, or a folder of them, here or in a bucket.

What is not finished lies in one hidden folder beside it, ``.NAME.raymle``, where the same call finds it again.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs as pafs

from raymle.data.places import SCHEMES, absolute, filesystem, name_of, path_of
from raymle.data.source import Source
from raymle.errors import ConflictError, SetupError, UsageError
from raymle.folders import sync

SUCCESS = "_SUCCESS"
"""Written last into a folder of parts: without it the folder does not exist."""


@dataclass(frozen=True)
class Output:
    """An absolute path or a URI, and whether it is one file or a folder of parts."""

    uri: str
    is_file: bool

    @property
    def quarantine(self) -> str:
        """Where the rows go that have no prediction."""
        return f"{self.uri.removesuffix('.parquet')}.quarantine.parquet"

    @property
    def scratch(self) -> str:
        """Where everything is until it is finished."""
        folder, _, name = self.uri.rpartition("/")
        return f"{folder}/.{name}.raymle"

    @property
    def is_here(self) -> bool:
        """Whether it is a path, and not in a bucket."""
        return "://" not in self.uri


def located(output: str | Path, source: Source) -> Output:
    """Find out what an output means, and refuse one that would destroy something.

    Raises:
        UsageError: it is no parquet file or folder, or it is the source, or a folder with other files.
    """
    scheme, _, path = str(output).rpartition("://")
    suffix = "" if path.endswith("/") else Path(path).suffix
    if scheme not in {"", *SCHEMES} or suffix not in {"", ".parquet"} or not name_of(path):
        raise UsageError(
            f"the output {str(output)!r} is neither a .parquet file nor a folder", hint="for instance out.parquet"
        )
    uri = absolute(str(output), ".").rstrip("/")
    found = Output(uri if "://" in uri else str(Path(uri).resolve()), is_file=suffix == ".parquet")
    _refuse_source(found, source)
    with written(found.uri):
        _refuse_others(found)
    return found


def _refuse_source(output: Output, source: Source) -> None:
    files = {each if "://" in each else str(Path(each).resolve()) for each in source.files}
    inside = not output.is_file and any(each.startswith(f"{output.uri}/") for each in files)
    if inside or files & {output.uri, output.quarantine}:
        raise UsageError(f"the output {name_of(output.uri)} is the source itself", hint="choose another name")


def _refuse_others(output: Output) -> None:
    """Refuse to write over what is no earlier output."""
    system, path = filesystem(output.uri, attempts=3), path_of(output.uri)
    kind = system.get_file_info(path).type
    if output.is_file and kind == pafs.FileType.Directory:
        raise UsageError(f"the output {output.uri} is a folder", hint="a folder of parts ends in / or has no suffix")
    if not output.is_file and kind == pafs.FileType.File:
        raise UsageError(f"the output {output.uri} is a file that is there already", hint="end its name in .parquet")
    if not output.is_file and kind == pafs.FileType.Directory and SUCCESS not in (listed(output.uri) or [SUCCESS]):
        raise UsageError(f"the folder {output.uri} holds other files", hint="name a new folder, or a file in it")


@contextmanager
def held(output: Output) -> Iterator[None]:
    """Keep other processes of this machine from the same output for the block; in a bucket nothing does.

    Raises:
        ConflictError: one writes it now.
    """
    if not output.is_here:
        yield
        return
    from filelock import FileLock, Timeout

    with written(output.uri):
        Path(output.scratch).mkdir(parents=True, exist_ok=True)
        lock = FileLock(Path(output.scratch) / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise ConflictError(f"another process writes {output.uri}", hint="wait for it, or end it") from None
    try:
        yield
    finally:
        lock.release()


def listed(uri: str) -> list[str]:
    """Return the names in a folder, sorted; none when it is not there."""
    found = filesystem(uri).get_file_info(pafs.FileSelector(path_of(uri), allow_not_found=True))
    return sorted(each.base_name for each in found if each.base_name)


def remove(uri: str) -> None:
    """Remove a file or a folder with all that is in it; gone already is fine."""
    system, path = filesystem(uri), path_of(uri)
    kind = system.get_file_info(path).type
    if kind == pafs.FileType.Directory:
        system.delete_dir(path)
    elif kind == pafs.FileType.File:
        system.delete_file(path)


@contextmanager
def drafted(output: Output, uri: str) -> Iterator[Path]:
    """Give a path to write to for the block; at its end the file is at the address, whole, or it is nowhere."""
    with written(output.uri):
        folder = f"{output.scratch}/drafts" if output.is_here else None
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            Path(uri).parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as own:
            draft = Path(own, name_of(uri))
            yield draft
            put(draft, uri)


def put(draft: Path, uri: str) -> None:
    """Move a file of this machine to an address, in one step."""
    if "://" not in uri:
        sync(draft)
        draft.replace(uri)
        return
    here = pafs.LocalFileSystem()
    pafs.copy_files(str(draft), path_of(uri), source_filesystem=here, destination_filesystem=filesystem(uri))


@contextmanager
def written(uri: str) -> Iterator[None]:
    """Turn what a disk or a bucket says into one sentence."""
    try:
        yield
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
        hint = "make room; the same call goes on" if "space" in cause else ""
        raise SetupError(f"cannot write {uri}: {cause[:300]}", hint=hint) from error

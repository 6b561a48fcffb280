"""Folders and files that appear whole or not at all, and are checked before they are used."""

import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from raymle.errors import ArtifactError, ConflictError, SecurityError

MANIFEST = "MANIFEST.json"
FORMAT = 1
"""Of the manifest."""


def write_durably(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until the disk has a file, or a folder's names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def draft_folder(root: Path) -> Path:
    """Make an empty temporary folder beside what will be committed."""
    folder = root / f".tmp-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    return folder


def commit(draft: Path, target: Path) -> Path:
    """Write the manifest of a finished draft and move it into place in one step.

    Raises:
        ConflictError: the target is there already.
    """
    files = {str(path.relative_to(draft)): digest(path) for path in sorted(draft.rglob("*")) if path.is_file()}
    for name in files:
        sync(draft / name)
    write_durably(draft / MANIFEST, json.dumps({"format": FORMAT, "files": files}, indent=1).encode())
    try:
        return move(draft, target)
    except ConflictError:
        shutil.rmtree(draft)
        raise


def move(folder: Path, target: Path) -> Path:
    """Move a committed folder into place in one step.

    Raises:
        ConflictError: the target is there already; the folder stays where it is.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(target)
    except OSError:
        if not target.exists():
            raise
        raise ConflictError(f"{target.name} is there already") from None
    sync(target.parent)
    return target


def digest(path: Path) -> dict[str, Any]:
    """Return a file's size in bytes and sha256."""
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def verify(folder: Path, *, deep: bool) -> None:
    """Raise ArtifactError unless every file of the manifest is there with its size, and its sha256 if deep."""
    for name, expected in listed(folder).items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{folder} is damaged: {name} is missing")
        if path.stat().st_size != expected["size"] or (deep and digest(path) != expected):
            raise ArtifactError(f"{folder} is damaged: {name} is not what its manifest says")


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the manifest says of each file.

    Raises:
        ArtifactError: it is damaged itself, or of a newer version.
        SecurityError: it names a file outside the folder, or a link.
    """
    try:
        said = json.loads((folder / MANIFEST).read_text())
        found = {name: {"size": each["size"], "sha256": each["sha256"]} for name, each in said["files"].items()}
        version = int(said.get("format", FORMAT))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ArtifactError(f"{folder} is not whole: it has no valid {MANIFEST}") from None
    if version > FORMAT:
        raise ArtifactError(f"the {MANIFEST} of {folder} is of format {version}, a newer one", hint="update raymle")
    if strange := next((name for name in found if not _is_inside(folder, name)), None):
        raise SecurityError(
            f"the {MANIFEST} of {folder} names {strange}, which is not a file of that folder",
            hint="raymle writes no such names: somebody else did",
        )
    return found


def _is_inside(folder: Path, name: str) -> bool:
    """Whether a name stays in its folder, without ``..`` and links on the way."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        return False
    return not any((folder / part).is_symlink() for part in (path, *path.parents) if part != Path())

"""What git says of a folder; it need not be there."""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path


def call(root: Path, *arguments: str, given: bytes = b"") -> bytes | None:
    """Return what a git command prints in a folder; None when there is no git, no repository, or it fails."""
    command = ["git", "-C", str(root), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(  # noqa: S603
            command, input=given, capture_output=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def text(root: Path, *arguments: str) -> str:
    """Return what a git command prints in a folder as text; empty when it fails."""
    return (call(root, *arguments) or b"").decode(errors="replace")


def restored(root: Path, commit: str, diff: str, names: Iterable[str]) -> dict[str, bytes] | None:
    """Return those of the files that a commit has, with what was not committed put over them.

    Args:
        root: A folder in a repository.
        commit: The commit.
        diff: What differed from it, by paths in the folder.
        names: The files.

    Returns:
        The files by name; None when git is not there, does not have the commit, or cannot apply the diff.
    """
    listed = call(root, "ls-tree", "-r", "-z", "--name-only", commit)
    known = sorted({*names} & {*(listed or b"").decode(errors="replace").split("\0")})
    packed = call(root, "archive", "--format=tar", commit, "--", *known) if known else None
    if packed is None:
        return None
    with tempfile.TemporaryDirectory() as name, tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(name, filter="data")
        wanted = [f"--include={each}" for each in known]
        if diff and call(Path(name), "apply", *wanted, "-", given=diff.encode()) is None:
            return None
        return {each: path.read_bytes() for each in known if (path := Path(name, each)).is_file()}

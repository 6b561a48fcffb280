"""Complete examples that ``raymle init --template`` begins with: those of the folder ``jobs``."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from raymle.errors import ConflictError, SetupError, UsageError

FILES = ("raymle.yaml", "data.py")
SPEC = "raymle.yaml"


def names() -> list[str]:
    """Return what examples there are."""
    return sorted(each.name for each in _home().iterdir() if (each / SPEC).is_file())


def make(name: str, folder: Path, *, force: bool) -> list[Path]:
    """Copy an example's spec and what makes its data into a folder, and make the data.

    Raises:
        UsageError: there is no such example.
        ConflictError: a file is there already.
        SetupError: the package that the data comes from is not installed.
    """
    if name not in names():
        raise UsageError(f"there is no template {name!r}", hint=f"there are {', '.join(names())}")
    written = [folder / file for file in FILES]
    data = folder / _source(_home() / name / SPEC)
    if taken := [str(path) for path in (*written, data) if path.exists()]:
        _refuse(taken, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    for path in written:
        shutil.copyfile(_home() / name / path.name, path)
    return [*written, _data(folder)]


def _refuse(taken: Sequence[str], *, force: bool) -> None:
    if not force:
        raise ConflictError(f"{taken[0]} is there already", hint="--force writes over it")


def _source(spec: Path) -> str:
    """Return what an example's spec reads, from its own folder."""
    from raymle import loader

    return Path(loader.load(spec).data.source).relative_to(spec.parent.resolve()).as_posix()


def _data(folder: Path) -> Path:
    """Run the example's own maker of data for what its spec reads."""
    source = _source(folder / SPEC)
    words = [sys.executable, FILES[1], source]  # our own file
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SetupError(f"{folder / FILES[1]} made no data: {said}")
    return folder / source


def _home() -> Path:
    """Return the examples' folder: in an installed package its own, in a checkout ``jobs``."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "templates"
    return packaged if packaged.is_dir() else package.parent / "jobs"

"""The user's own code: imported from the spec's folder or from a bundle, and copied into a bundle."""

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from raymle.errors import SpecError


def function(reference: str, folder: str | Path) -> Callable[..., Any]:
    """Import ``package.module:function``, looking in the folder first.

    Raises:
        SpecError: there is no such module or function, or importing it fails.
    """
    module_name, name = reference.split(":")
    try:
        with importing(Path(folder)):
            module = _fresh(module_name, Path(folder))
    except ModuleNotFoundError as error:
        raise SpecError(
            f"{reference}: there is no module {error.name!r} in {folder}", hint="put it beside the spec"
        ) from error
    except Exception as error:  # the user's module may raise anything while it is imported
        raise SpecError(f"{reference}: importing it fails: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise SpecError(f"{reference}: {module_name} has no function {name!r}")
    return found  # type: ignore[no-any-return]


@contextmanager
def importing(folder: Path) -> Iterator[None]:
    """Put a folder first on the import path for the block."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def copy(reference: str, folder: Path, target: Path) -> None:
    """Copy the module, and all it imported from the same folder, into the target."""
    function(reference, folder)
    root = folder.resolve()
    for path in {*_files(root)}:
        place = target / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def _fresh(name: str, folder: Path) -> ModuleType:
    """Import a module; one of the same name from another folder makes way first."""
    top = name.partition(".")[0]
    at_hand = (folder / f"{top}.py").exists() or (folder / top).is_dir()
    loaded = sys.modules.get(top)
    if at_hand and loaded is not None and not _inside(loaded, folder.resolve()):
        for other in [key for key in sys.modules if key.partition(".")[0] == top]:
            del sys.modules[other]
    importlib.invalidate_caches()
    return importlib.import_module(name)


def _inside(module: ModuleType, root: Path) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    return any(place and Path(place).resolve().is_relative_to(root) for place in places)


def _files(root: Path) -> Iterator[Path]:
    """Python files under the folder that are imported now, without installed packages."""
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        found = Path(path or "")
        if not found.is_absolute() or found.suffix != ".py":  # torch has modules that claim a file of no folder
            continue
        found = found.resolve()
        if found.is_relative_to(root) and found.is_file() and "site-packages" not in found.parts:
            yield found

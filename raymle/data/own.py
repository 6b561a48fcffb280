"""The user's own code: imported from the spec's folder or from a bundle, as it is now, and kept with the model.

What belongs to a function is its module and all that the module imports from the same folder, found by reading the
import statements; what is imported by a computed name is not found.
"""

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from modulefinder import ModuleFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from raymle.errors import SpecError

Sources = Mapping[str, bytes]
"""Files of the user's own code by their path in its folder."""
INSTALLED = "site-packages"
MARK = "__raymle_source__"
"""Where an imported module of the user's keeps the digest of the file that it was made of."""


def function(reference: str, folder: str | Path) -> Callable[..., Any]:
    """Import ``package.module:function`` from the folder; a file that has changed is imported again.

    Raises:
        SpecError: there is no such module or function, or importing it fails.
    """
    module_name, name = reference.split(":")
    try:
        with importing(Path(folder)):
            module = _fresh(module_name, Path(folder).resolve())
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
    """Put a folder first on the import path for the block; nothing is written into it."""
    entry, wrote = str(folder.resolve()), sys.dont_write_bytecode
    sys.path.insert(0, entry)
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path.remove(entry)
        sys.dont_write_bytecode = wrote


def sources(references: Iterable[str], folder: str | Path) -> dict[str, bytes]:
    """Return the files that the functions are made of, by their path in the folder.

    Raises:
        SpecError: one of the files cannot be read as Python.
    """
    root = Path(folder).resolve()
    files: dict[str, bytes] = {}
    for reference in references:
        for path in _modules(reference.split(":")[0], root).values():
            files[path.relative_to(root).as_posix()] = path.read_bytes()
    return dict(sorted(files.items()))


def digest(files: Sources) -> str:
    """Return the sha256 over names and contents."""
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def write(files: Sources, target: Path) -> None:
    """Write the files under a folder."""
    for name, content in files.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def _fresh(name: str, root: Path) -> ModuleType:
    """Import a module whose files are as they are now; whatever else goes by their names makes way first."""
    wanted = _modules(name, root)
    marks = {each: hashlib.sha256(path.read_bytes()).hexdigest() for each, path in wanted.items()}
    if any(_is_stale(sys.modules.get(each), wanted[each], mark) for each, mark in marks.items()):
        tops = {each.partition(".")[0] for each in wanted}
        for loaded in [each for each in sys.modules if each.partition(".")[0] in tops]:
            del sys.modules[loaded]
    importlib.invalidate_caches()
    module = importlib.import_module(name)
    for each, mark in marks.items():
        if each in sys.modules:
            vars(sys.modules[each]).setdefault(MARK, mark)
    return module


def _is_stale(loaded: ModuleType | None, path: Path, mark: str) -> bool:
    if loaded is None:
        return False
    place = getattr(loaded, "__file__", None)
    return not place or Path(place).resolve() != path or vars(loaded).get(MARK) != mark


def _modules(name: str, root: Path) -> dict[str, Path]:
    """Return a module and what it imports, directly or not, from under the folder, by their dotted names."""
    finder = ModuleFinder(path=[str(root)])
    try:
        finder.import_hook(name)
    except ImportError:
        return {}  # not in the folder: it is installed, or it does not exist
    except SyntaxError as error:
        where = Path(error.filename or name).name
        raise SpecError(f"{name}: {where}:{error.lineno} is not Python: {error.msg}") from None
    files = {each: Path(file).resolve() for each, module in finder.modules.items() if (file := _file(module))}
    return {each: path for each, path in files.items() if path.is_relative_to(root) and INSTALLED not in path.parts}


def _file(module: Any) -> str | None:
    found: str | None = module.__file__
    return found

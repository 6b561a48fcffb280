"""Room to work in that goes whatever happens, and work whose failure is an answer."""

import errno
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from raymle.errors import RaymleError, ResourceError, SetupError
from raymle.store import Store, open_store

T = TypeVar("T")


@dataclass(frozen=True)
class Scratch:
    """Empty places."""

    code: Path
    bundle: Path
    """Where the bundle appears."""
    store: Store


@contextmanager
def scratch(store: Store, *, shared: bool) -> Iterator[Scratch]:
    """Make room beside what a storage holds, and clear it with the block.

    It is there, and not in the system's own folder, because that may be too small, and other nodes do not see it.

    Args:
        store: The storage.
        shared: Whether other nodes read what is prepared; in an object store it is then written there too.
    """
    store.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".again-", dir=store.root, ignore_cleanup_errors=True) as name:
        root = Path(name)
        (root / "code").mkdir()
        is_far = shared and "://" in store.uri
        made = open_store(f"{store.uri}/{root.name}" if is_far else str(root / "storage"))
        try:
            yield Scratch(code=root / "code", bundle=root / "bundle", store=made)
        finally:
            if is_far:
                made.remove("")


def tried(work: Callable[[], T]) -> tuple[T | None, str]:
    """Return what the work gives, or None and why it failed.

    Raises:
        ResourceError: this machine is too small: that says nothing about the run.
        SetupError: this machine lacks something.
    """
    try:
        return work(), ""
    except (ResourceError, SetupError):
        raise
    except RaymleError as error:
        return None, str(error)
    except Exception as error:  # the user's own code may raise anything
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        return None, f"{type(error).__name__}: {error}"

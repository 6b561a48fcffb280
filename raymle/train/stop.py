"""The wish that a run saves a checkpoint and stops: an object in its storage, so that any process can leave it."""

from raymle.errors import SetupError
from raymle.store import Store


def ask(store: Store, run: str) -> None:
    """Ask a run to stop."""
    store.write_new(f"runs/{run}/stop/asked", b"")


def is_asked(store: Store, run: str) -> bool:
    """Whether a run is asked to stop; an object store that is away says no, and is asked again."""
    try:
        return bool(store.names(f"runs/{run}/stop"))
    except SetupError:
        return False


def forget(store: Store, run: str) -> None:
    """Take the wish back, so that the run can go on."""
    store.remove(f"runs/{run}/stop")

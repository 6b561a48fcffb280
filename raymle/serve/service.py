"""A model as it is served: what Ray Serve is given, in JSON."""

from pathlib import Path

from raymle.config import ServeConfig
from raymle.records import Record
from raymle.serve.history import Model
from raymle.store import Store, open_store, verify


class Service(Record):
    """One served model; with it a replica on any node can begin."""

    name: str
    model: Model
    config: ServeConfig
    storage: str | None = None
    """Where its history is; None for a bundle that belongs to no storage: it is never changed while it is served."""
    since: int = 0
    """Earlier events of the history are not its own."""
    metrics: str | None = None
    """The folder in which the replicas of a node count."""


def store_of(service: Service) -> Store | None:
    """Return the storage that a service follows, if it follows one."""
    return open_store(service.storage) if service.storage and service.since else None


def place_of(model: Model, store: Store | None) -> Path:
    """Return a version's folder on this machine, from the storage when it is there.

    Raises:
        ArtifactError: it is not whole.
    """
    if store is None or Path(model.place).is_absolute():
        verify(Path(model.place), deep=False)
        return Path(model.place)
    return store.fetch(model.place)

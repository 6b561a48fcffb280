"""What RUN and MODEL mean on a command line and in a driver script."""

from pathlib import Path
from typing import NamedTuple

from raymle.config import Spec, TrackingConfig
from raymle.errors import ArtifactError, UsageError
from raymle.promote import bundle
from raymle.store import MANIFEST, Store, open_store
from raymle.tracking import registry, shelf

REGISTERED = "models:/"


class Located(NamedTuple):
    """What MODEL means: its bundle on this machine, what to call it, and the spec that made it if that is known."""

    bundle: Path
    name: str
    version: str
    spec: Spec | None = None
    run_id: str = ""


def is_bundle(ref: str) -> bool:
    """Whether a reference is a bundle's folder."""
    return Path(ref, MANIFEST).is_file()


def run_id(store: Store, ref: str) -> str:
    """Find a run by its id, the start of one, ``last``, its study's id, or a registered version of it."""
    if ref.startswith(REGISTERED):
        return registry.resolve(tracking(store), store, ref).run_id
    return shelf.find(store, ref)


def model(ref: str, storage: str) -> Located:
    """Find a model by its bundle's folder, ``models:/name@alias`` or ``models:/name/3``, or a run."""
    if is_bundle(ref):
        return Located(Path(ref), Path(ref).resolve().name, "bundle")
    store = open_store(storage)
    if ref.startswith(REGISTERED):
        found = registry.resolve(tracking(store), store, ref)
        return Located(found.bundle, found.name, found.version, _spec_of(store, found.run_id), found.run_id)
    record = shelf.load(store, shelf.find(store, ref))
    if not record.bundle:
        raise UsageError(f"run {record.run_id} {record.status}: it has no model")
    return Located(bundle(store, record), record.name, record.run_id, _spec_of(store, record.run_id), record.run_id)


def _spec_of(store: Store, found: str) -> Spec | None:
    """Return the spec of a run that was made in this storage."""
    try:
        return shelf.load_spec(store, found)
    except ArtifactError:
        return None


def tracking(store: Store) -> TrackingConfig:
    """Return where this storage's runs are tracked: as the newest run says."""
    runs = shelf.every(store)
    return shelf.load_spec(store, runs[0].run_id).tracking if runs else TrackingConfig()

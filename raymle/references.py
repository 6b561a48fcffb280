"""What RUN and MODEL mean on a command line and in a driver script."""

import os
from pathlib import Path
from typing import NamedTuple

from raymle.config import Spec, TrackingConfig
from raymle.data import shards
from raymle.errors import ArtifactError, UsageError
from raymle.evaluate import Validation
from raymle.model import PICKLES, no_bundle
from raymle.promote import bundle
from raymle.records import Trained
from raymle.store import MANIFEST, Store, open_store, user_cache
from raymle.tracking import registry, shelf

REGISTERED = "models:/"


class Located(NamedTuple):
    """What MODEL means: its bundle on this machine, what to call it, and the run that made it if that is known."""

    bundle: Path
    name: str
    version: str
    root: Path
    """Where forms of it are kept: the storage's folder on this machine, or the user's cache."""
    run_id: str = ""
    spec: Spec | None = None
    record: Trained | None = None


def registered_name(ref: str) -> str:
    """Return the name in ``models:/NAME@ALIAS``."""
    return ref.removeprefix(REGISTERED).partition("@")[0]


def is_bundle(ref: str) -> bool:
    """Whether a reference is a bundle's folder."""
    return Path(ref, MANIFEST).is_file()


def run_id(store: Store, ref: str) -> str:
    """Find a run by its id, the start of one, ``last``, its study's id, or a registered version of it."""
    if ref.startswith(REGISTERED):
        return registry.resolve(tracking(store), store, ref).run_id
    return shelf.find(store, ref)


def model(ref: str, storage: str) -> Located:
    """Find a model by its bundle's folder, ``models:/name@alias`` or ``models:/name/3``, or a run.

    Raises:
        ArtifactError: there is none, or a path is named that is no bundle.
        SecurityError: a pickle is named, or a folder of pickles.
    """
    if is_bundle(ref):
        return Located(Path(ref), Path(ref).resolve().name, "bundle", user_cache())
    if not ref.startswith(REGISTERED) and is_path(ref):
        raise no_bundle(Path(ref))
    store = open_store(storage)
    if ref.startswith(REGISTERED):
        found = registry.resolve(tracking(store), store, ref)
        made_by = _made_by(store, found.run_id)
        return Located(found.bundle, found.name, found.version, store.root, found.run_id, *made_by)
    record = shelf.load(store, _run(store, ref))
    if not record.bundle:
        raise UsageError(f"run {record.run_id} {record.status}: it has no model")
    name, run = record.name, record.run_id
    return Located(bundle(store, record), name, run, store.root, run, *_made_by(store, run))


def exportable(ref: str, storage: str) -> tuple[Located, Validation | None]:
    """Find a model, and the validation rows of its run if they are here."""
    found = model(ref, storage)
    if found.spec is None or found.record is None:
        return found, None
    splits = shards.find(open_store(storage), found.record.splits_id)
    if splits is None:
        return found, None
    return found, Validation(splits, found.spec.evaluate, found.spec.folder, found.record.metric)


def is_path(ref: str) -> bool:
    """Whether a reference can only be a path: no run and no study is called so."""
    return os.sep in ref or Path(ref).suffix.lower() in PICKLES


def _run(store: Store, ref: str) -> str:
    try:
        return shelf.find(store, ref)
    except ArtifactError:
        if Path(ref).exists():
            raise no_bundle(Path(ref)) from None
        raise


def _made_by(store: Store, found: str) -> tuple[Spec | None, Trained | None]:
    """Return spec and record of a run that was made in this storage."""
    try:
        return shelf.load_spec(store, found), shelf.load(store, found)
    except ArtifactError:
        return None, None


def tracking(store: Store) -> TrackingConfig:
    """Return where this storage's runs are tracked: as the newest run says."""
    runs = shelf.every(store)
    return shelf.load_spec(store, runs[0].run_id).tracking if runs else TrackingConfig()

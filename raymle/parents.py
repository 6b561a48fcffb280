"""Where the first weights of a training come from: found once, kept in the storage, and recorded with the run.

pretrained/<version>/   weights.safetensors, and of a bundle bundle.json and transform.json: whatever becomes of it
runs/<run>/parent.json  what the run goes on from
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from raymle import data, references, tracking
from raymle.ancestry import Parent
from raymle.config import Spec
from raymle.errors import ArtifactError, ConflictError, SecurityError, SpecError
from raymle.evaluate import gate
from raymle.folders import MANIFEST, commit, digest, draft_folder, verify
from raymle.loader import environment
from raymle.model import PICKLES, no_bundle, read_contents
from raymle.records import Fitted, Splits
from raymle.store import Store, open_store
from raymle.tracking import claims, origin, registry, shelf

KEPT = ("weights.safetensors", "bundle.json", "transform.json")
SUFFIX = ".safetensors"


class Found(NamedTuple):
    """A source of weights on this machine: a bundle's folder or a file, and the run that made it if that is known."""

    path: Path
    run_id: str = ""


def find(spec: Spec) -> Found | None:
    """Find what ``train.pretrained.from`` names, and check it before anything is prepared; None when it names nothing.

    Raises:
        ArtifactError: there is no such model, or it is damaged.
        SecurityError: it is a pickle.
        SpecError: it is another kind of model, or its layers have other shapes.
    """
    asked = spec.train.pretrained.source
    if asked is None:
        return None
    here = Path(spec.folder) / Path(asked).expanduser()
    if here.suffix.lower() in PICKLES:
        raise SecurityError(
            f"train.pretrained.from {asked} is a pickle: loading it could run any code, so it is never opened",
            hint="save its weights with safetensors.torch.save_file, and name that file",
        )
    if here.suffix == SUFFIX:
        _check_file(here)
        return Found(here)
    found = Found(here) if references.is_bundle(str(here)) else _model(asked, spec)
    verify(found.path, deep=True)
    _check_bundle(found.path, spec)
    return found


def begin(spec: Spec, store: Store, resumed: str | None) -> Found | None:
    """Find what a new run goes on from; None from scratch, and for a run that goes on and has it already."""
    known = recorded(store, resumed) if resumed else None
    return None if known and MANIFEST in store.names(known.folder) else find(spec)


def keep(run: tracking.Run, store: Store, found: Found | None, asked: str | None) -> Parent | None:
    """Record with a run what it goes on from, and keep that in the storage: the source may change or go.

    Args:
        run: The run; one that goes on has a parent already.
        store: Where the weights are kept, once for all runs that go on from them.
        found: What ``begin`` found.
        asked: ``train.pretrained.from``.
    """
    if found is None or asked is None:
        return recorded(store, run.id)
    version = str(digest(found.path if found.path.is_file() else found.path / MANIFEST)["sha256"])
    parent = Parent(
        asked=asked, folder=f"pretrained/{version[:16]}", storage=store.uri, version=version, run_id=found.run_id
    )
    store.write_new(_name(run.id), parent.model_dump_json(indent=1).encode())  # first, so that it is not removed
    if MANIFEST not in store.names(parent.folder):
        _copy(store, found.path, parent.folder)
    run.tags({"raymle.pretrained_from": parent.run_id or asked, "raymle.pretrained_version": version})
    return parent


def recorded(store: Store, run_id: str) -> Parent | None:
    """Return what a run was recorded to go on from, if anything."""
    known = claims.read(store, _name(run_id))
    return moved(Parent.model_validate(known), store) if known else None


def moved(parent: Parent, store: Store) -> Parent:
    """Return a recorded parent as it is found in a storage, which may have another address now."""
    return parent.model_copy(update={"storage": store.uri})


def garbage(store: Store) -> list[str]:
    """Remove the weights that no run goes on from any more; return their folders."""
    if not store.names("pretrained"):
        return []
    begun = [recorded(store, run_id) for run_id in store.names("runs")]
    made = [each.pretrained.parent for each in shelf.every(store) if each.pretrained]
    used = {parent.folder for parent in [*begun, *made] if parent}
    unused = [folder for name in store.names("pretrained") if (folder := f"pretrained/{name}") not in used]
    for folder in unused:
        store.remove(folder)
    return unused


def warned(fitted: Fitted, spec: Spec, store: Store, splits: Splits) -> Fitted:
    """Add a warning when a run that the weights are from may have trained on rows that are sealed here."""
    parent = fitted.pretrained.parent.run_id if fitted.pretrained else ""
    for run_id in _line(store, parent) if splits.rows["test"] else ():
        if why := _may_have_trained(run_id, spec, store, splits):
            told = f"run {run_id}, whose weights were loaded, may have trained on rows that are sealed here: {why}"
            return fitted.model_copy(update={"warnings": (told, *fitted.warnings)})
    return fitted


def _line(store: Store, run_id: str) -> Iterator[str]:
    """Yield a run, the one that it went on from, and so on, as far as this storage knows them."""
    while run_id:
        yield run_id
        try:
            made = shelf.load(store, run_id).pretrained
        except ArtifactError:
            return
        run_id = made.parent.run_id if made else ""


def _may_have_trained(run_id: str, spec: Spec, store: Store, splits: Splits) -> str:
    """Say why an earlier run over the same rows may have trained on those that are sealed now; else nothing."""
    try:
        theirs = shelf.load_spec(store, run_id)
        schema = read_contents(store.fetch(f"runs/{run_id}/bundle")).data_schema
        is_same = origin.load(store, run_id).data_fingerprint == splits.data_fingerprint
    except ArtifactError:  # it is not in this storage any more
        return ""
    is_same |= spec.data.source == theirs.data.source and not data.is_table(spec.data.source)
    return gate.may_have_trained((spec, splits.data_schema), (theirs, schema)) if is_same else ""


def _copy(store: Store, source: Path, folder: str) -> None:
    """Copy a file of weights, or what is needed of a bundle, into a storage."""
    draft = draft_folder(store.root)
    try:
        for path in [source] if source.is_file() else [source / name for name in KEPT]:
            shutil.copy(path, draft / (KEPT[0] if source.is_file() else path.name))
        with suppress(ConflictError):  # it is here already, perhaps by another process
            commit(draft, store.root / folder)
        store.publish(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _name(run_id: str) -> str:
    return f"runs/{run_id}/parent.json"


def _model(asked: str, spec: Spec) -> Found:
    """Find a run or a registered model.

    Raises:
        ArtifactError: there is none, or a folder is named that is no bundle.
        SecurityError: that folder holds a pickle.
    """
    is_registered = asked.startswith(references.REGISTERED)
    if references.is_path(asked) and not is_registered:
        raise no_bundle(Path(spec.folder) / Path(asked).expanduser())
    is_elsewhere = is_registered and (spec.tracking.uri or environment("MLFLOW_TRACKING_URI"))
    if "://" not in spec.storage and not Path(spec.storage).is_dir() and not is_elsewhere:
        raise ArtifactError(
            f"train.pretrained.from {asked}: there is no storage {spec.storage}",
            hint="train a first model there, or name the folder of a bundle",
        )
    if is_registered:
        version = registry.resolve(spec.tracking, open_store(spec.storage), asked)
        return Found(version.bundle, version.run_id)
    located = references.model(asked, spec.storage)
    return Found(located.bundle, located.run_id)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise ArtifactError(f"train.pretrained.from: there is no file {path}")
    try:
        with safe_open(path, "pt") as file:
            names = [*file.keys()]
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"train.pretrained.from {path} is no safetensors file: {error}") from None
    if not names:
        raise ArtifactError(f"train.pretrained.from {path} holds no weights")


def _check_bundle(bundle: Path, spec: Spec) -> None:
    """Compare a bundle's network with the one that the spec describes, given the bundle's own inputs and outputs."""
    contents, asked = read_contents(bundle), str(spec.train.pretrained.source)
    if contents.model.type != spec.model.type:
        raise SpecError(
            f"train.pretrained.from {asked} is a model of type {contents.model.type}, and model.type is "
            f"{spec.model.type}",
            hint=f"set model.type={contents.model.type}, with params {json.dumps(dict(contents.model.params))}",
        )
    from raymle.model import pretrained
    from raymle.model.build import build

    module = build(spec.model, contents.inputs, contents.outputs, folder=spec.folder)
    pretrained.check(module, pretrained.read(bundle, asked), spec.train.pretrained)

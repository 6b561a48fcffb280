"""Registered models: versions made from runs, and aliases that two promotions cannot both win."""

import hashlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from raymle.config import TrackingConfig
from raymle.errors import ArtifactError, ConflictError, UsageError
from raymle.records import Schema
from raymle.store import MANIFEST, draft_folder, lock, verify
from raymle.tracking import client, sender, sent
from raymle.tracking.replay import RUN_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from raymle.store import Store

REFERENCE = re.compile(r"^models:/(?P<name>[^/@]+)(?:@(?P<alias>[\w-]+)|/(?P<version>\d+))$")
BUNDLE_TAG = "raymle.bundle"
BEFORE_TAG = "raymle.before"
"""The version that was champion before this one."""
TYPES = {"number": "double", "boolean": "boolean", "timestamp": "datetime"}


def register(
    config: TrackingConfig,
    store: "Store",
    *,
    name: str,
    run_id: str,
    experiment: str,
    bundle: Path,
    tags: Mapping[str, str],
) -> str:
    """Make a version of a run's bundle and return its number; the same bundle again is the same version.

    Raises:
        SetupError: MLflow does not have the run and cannot be reached.
    """
    uri = client.address(config, store)
    if (sent.journals(store.root) / f"{run_id}.jsonl").exists():
        sender.flush(store, uri, run_id)
    whole = _digest(bundle)
    with client.reachable(uri), lock(store, "registry"):
        mlflow = client.connect(uri)
        _ensure(mlflow, name)
        for found in mlflow.search_model_versions(f"name = '{name}'"):
            if (found.tags.get(RUN_TAG), found.tags.get(BUNDLE_TAG)) == (run_id, whole):
                return str(found.version)
        model = _model_of(mlflow, run_id, config.experiment or experiment)
        made = mlflow.create_model_version(
            name,
            model.artifact_location,
            run_id=model.source_run_id,
            tags={**tags, RUN_TAG: run_id, BUNDLE_TAG: whole},
            model_id=model.model_id,
        )
    return str(made.version)


def _model_of(mlflow: "MlflowClient", run_id: str, experiment: str) -> Any:
    """Return the logged model of a run, wherever that was made.

    Raises:
        ArtifactError: MLflow has none.
    """
    found = mlflow.get_experiment_by_name(experiment)
    places = [found.experiment_id] if found else []
    runs = mlflow.search_runs(places, f"tags.`{RUN_TAG}` = '{run_id}'") if places else []
    models = mlflow.search_logged_models(places, f"source_run_id = '{runs[0].info.run_id}'") if runs else []
    if not models:
        raise ArtifactError(f"MLflow has no model of run {run_id}", hint="see journals/sender.log in the storage")
    return models[0]


def champion(config: TrackingConfig, store: "Store", name: str) -> tuple[str, str] | None:
    """Return the version and the run that hold the alias champion, if any."""
    uri = client.address(config, store)
    with client.reachable(uri):
        found = _aliased(client.connect(uri), name, "champion")
    return (str(found.version), str(found.tags.get(RUN_TAG, ""))) if found else None


def set_alias(
    config: TrackingConfig, store: "Store", name: str, alias: str, version: str, *, expected: str | None,
    remember: bool = True,
) -> None:  # fmt: skip
    """Move an alias, if it still names the expected version; None expects that it names none.

    The version remembers which one it took the alias from, unless this is the way back.

    Raises:
        ConflictError: somebody else was first.
    """
    uri = client.address(config, store)
    with client.reachable(uri), lock(store, "registry"):
        mlflow = client.connect(uri)
        found = _aliased(mlflow, name, alias)
        current = str(found.version) if found else None
        if current == version:
            return
        if current != expected:
            raise ConflictError(
                f"{name}@{alias} is version {current}, not {expected}: another promotion was first",
                hint="look at it, then decide again",
            )
        if remember and expected:
            mlflow.set_model_version_tag(name, version, BEFORE_TAG, expected)
        mlflow.set_registered_model_alias(name, alias, version)


def move_alias(config: TrackingConfig, store: "Store", name: str, alias: str, version: str | None) -> None:
    """Move an alias, whatever it names; None takes it away."""
    uri = client.address(config, store)
    with client.reachable(uri), lock(store, "registry"):
        mlflow = client.connect(uri)
        if version:
            mlflow.set_registered_model_alias(name, alias, version)
        elif _aliased(mlflow, name, alias):
            mlflow.delete_registered_model_alias(name, alias)


def before(config: TrackingConfig, store: "Store", name: str, version: str) -> str | None:
    """Return the version that was champion before this one, if any."""
    uri = client.address(config, store)
    with client.reachable(uri):
        found = _version(client.connect(uri), name, None, version)
    return found.tags.get(BEFORE_TAG) if found else None


class Registered(NamedTuple):
    """A registered version: its verified bundle on this machine, and the run that made it."""

    bundle: Path
    name: str
    version: str
    run_id: str


def resolve(config: TrackingConfig, store: "Store", reference: str) -> Registered:
    """Return what ``models:/name@alias`` or ``models:/name/3`` means, its bundle verified.

    Raises:
        UsageError: the reference is neither.
        ArtifactError: there is no such version, or its bundle is damaged.
    """
    match = REFERENCE.match(reference)
    if not match:
        raise UsageError(
            f"{reference!r} names no registered model", hint="write models:/churn@champion or models:/churn/3"
        )
    uri = client.address(config, store)
    with client.reachable(uri):
        mlflow = client.connect(uri)
        found = _version(mlflow, match["name"], match["alias"], match["version"])
        if found is None:
            raise ArtifactError(
                f"there is no {reference} in MLflow at {client.redacted(uri)}",
                hint="raymle promote RUN makes a version",
            )
        bundle = _here(store, found) or _download(mlflow, store, found)
    if _digest(bundle) != found.tags.get(BUNDLE_TAG):
        raise ArtifactError(f"the bundle of {reference} is not the one that was registered")
    return Registered(bundle, match["name"], str(found.version), str(found.tags.get(RUN_TAG, "")))


def signature(schema: Schema) -> dict[str, Any]:
    """Return MLflow's signature of a model over these columns."""
    inputs = [{"name": column.name, "required": True, **_type_of(column.type)} for column in schema.features]
    kind = "string" if schema.task == "classification" else "double"
    return {"inputs": inputs, "outputs": [{"name": "prediction", "type": kind, "required": True}]}


def _type_of(kind: str) -> dict[str, Any]:
    if kind == "sequence":
        return {"type": "array", "items": {"type": "double"}}
    return {"type": TYPES.get(kind, "string")}


def _ensure(mlflow: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        mlflow.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _aliased(mlflow: "MlflowClient", name: str, alias: str) -> "ModelVersion | None":
    return _version(mlflow, name, alias, None)


def _version(mlflow: "MlflowClient", name: str, alias: str | None, version: str | None) -> "ModelVersion | None":
    from mlflow.exceptions import MlflowException

    try:
        return mlflow.get_model_version_by_alias(name, alias) if alias else mlflow.get_model_version(name, str(version))
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise


def _here(store: "Store", version: "ModelVersion") -> Path | None:
    try:
        return store.fetch(f"runs/{version.tags.get(RUN_TAG)}/bundle")
    except ArtifactError:
        return None


def _download(mlflow: "MlflowClient", store: "Store", version: "ModelVersion") -> Path:
    """Bring a bundle from MLflow's artifacts, whole or not at all; only what its manifest names is used."""
    target = store.root / "models" / str(version.tags.get(BUNDLE_TAG))
    if target.exists():
        verify(target, deep=False)
        return target
    from mlflow.artifacts import download_artifacts

    draft = draft_folder(store.root)
    try:
        uri = mlflow.get_model_version_download_uri(version.name, str(version.version))
        bundle = Path(download_artifacts(artifact_uri=uri, dst_path=str(draft), tracking_uri=mlflow.tracking_uri))
        verify(bundle, deep=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        bundle.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _digest(bundle: Path) -> str:
    verify(bundle, deep=False)
    return hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()

"""What a run was made of, kept beside it in the storage: enough to make it again without MLflow.

runs/<run>/source/   source.zip spec.json packages.txt provenance.json, and uncommitted.diff if there was one
"""

import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from raymle.config import Spec
from raymle.config.model import HUGGING_FACE
from raymle.errors import ArtifactError
from raymle.folders import MANIFEST, commit, digest, draft_folder
from raymle.records import Provenance, Splits
from raymle.tracking import code

if TYPE_CHECKING:
    from raymle.store import Store

FACTS, ARCHIVE, DIFF = "provenance.json", "source.zip", "uncommitted.diff"
HUGGING_FACE_FILES = ("config.json", "model*.safetensors", "model.safetensors.index.json")


def folder(run_id: str) -> str:
    """Return where a run's source is in its storage."""
    return f"runs/{run_id}/source"


def keep(store: "Store", run_id: str, spec: Spec, splits: Splits) -> Provenance:
    """Keep the code in the spec's folder, and the facts about code, data, packages and machine."""
    draft = draft_folder(store.root)
    try:
        found = _write(draft, spec, splits)
        store.remove(folder(run_id))  # half of it, when the attempt before was cut short
        commit(draft, store.root / folder(run_id))
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    store.publish(folder(run_id))
    return found


def _write(draft: Path, spec: Spec, splits: Splits) -> Provenance:
    source = code.source_state(spec.folder, archive=draft / ARCHIVE)
    found = Provenance(
        digest=source.digest, commit=source.commit, dirty=source.dirty, environment=code.environment(),
        data_fingerprint=splits.data_fingerprint, splits=splits.fingerprints, files=elsewhere(spec),
    )  # fmt: skip
    (draft / FACTS).write_text(found.model_dump_json(indent=1))
    (draft / "spec.json").write_text(spec.model_dump_json(by_alias=True, indent=1))
    installed = sorted(f"{name}=={version}" for name, version in found.environment.packages.items() if name != "Python")
    (draft / "packages.txt").write_text("\n".join(installed))
    if source.diff:
        (draft / DIFF).write_text(source.diff)
    return found


def elsewhere(spec: Spec) -> dict[str, str]:
    """Return the sha256 of the files that a training reads beside its code and data, by their absolute paths."""
    files = [_at(spec.data.text.tokenizer, spec)] if spec.data.text.tokenizer else []
    if spec.model.is_hugging_face:
        folder = _at(spec.model.type.removeprefix(HUGGING_FACE), spec)
        files += sorted(each for pattern in HUGGING_FACE_FILES for each in folder.glob(pattern))
    return {str(file): digest(file)["sha256"] for file in files if file.is_file()}


def _at(name: str, spec: Spec) -> Path:
    return Path(spec.folder, Path(name).expanduser())


def unpack(store: "Store", run_id: str, target: Path) -> str:
    """Unpack the recorded code into a folder, and return what was not committed then.

    Raises:
        ArtifactError: it is not there, or damaged.
    """
    kept = store.fetch(folder(run_id))
    try:
        with zipfile.ZipFile(kept / ARCHIVE) as archive:
            archive.extractall(target)
    except (OSError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{folder(run_id)}/{ARCHIVE} is damaged: {error}") from None
    return (kept / DIFF).read_bytes().decode() if (kept / DIFF).exists() else ""


def is_described(store: "Store", run_id: str) -> bool:
    """Whether it is kept what a run was made of; a kill may have come before."""
    return MANIFEST in store.names(folder(run_id))


def has_changed(store: "Store", run_id: str, place: str) -> bool:
    """Whether the code in a folder is not what a run began with."""
    if not is_described(store, run_id):
        return False
    root = Path(place).resolve()
    return load(store, run_id).digest != code.digest(root, code.sources(root))


def load(store: "Store", run_id: str) -> Provenance:
    """Return what a run was made of.

    Raises:
        ArtifactError: that was not kept, or is damaged.
    """
    try:
        return Provenance.model_validate_json(store.read(f"{folder(run_id)}/{FACTS}"))
    except ArtifactError:
        raise ArtifactError(
            f"the storage does not know what run {run_id} was made of: {folder(run_id)}/{FACTS} is not there",
            hint="it was made by an earlier raymle; train it again",
        ) from None
    except ValueError as error:
        problem = str(error).splitlines()[0]
        raise ArtifactError(f"{folder(run_id)}/{FACTS} is damaged: {problem}", hint="train it again") from None

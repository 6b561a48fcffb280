"""What came of making a run again: its code, its epochs, its metrics and its weights beside the recorded ones."""

from collections.abc import Generator
from pathlib import Path

from raymle import evaluate, folders
from raymle import train as training
from raymle.config import Spec
from raymle.errors import ArtifactError
from raymle.promote import bundle as bundle_of
from raymle.records import Check, Epoch, Fitted, Provenance, Splits, Trained
from raymle.reproduce import checks
from raymle.reproduce.scratch import tried
from raymle.store import Store
from raymle.tracking import code, git, origin


def source(store: Store, run_id: str, made_of: Provenance, folder: str, target: Path) -> Check:
    """Unpack the recorded code, and compare it with its digest, its commit, and what is in the spec's folder now.

    A tokenizer or a Hugging Face model elsewhere must be what it was.
    """
    try:
        diff = origin.unpack(store, run_id, target)
    except ArtifactError as error:
        return Check(name="source", verdict="damaged", detail=str(error))
    names = code.sources(target)
    if code.digest(target, names) != made_of.digest:
        return Check(name="source", verdict="differs", detail="the recorded code is not what its digest says")
    if other := [told for name, then in made_of.files.items() if (told := _changed(Path(name), then))]:
        return Check(name="source", verdict="differs", detail=checks.some(other))
    archived = {name: (target / name).read_bytes() for name in names}
    told = f"{len(names)} files, {_commit(made_of, folder, diff, archived)}; {_since(Path(folder), archived)}"
    return Check(name="source", verdict="same", detail=told)


def _changed(file: Path, then: str) -> str:
    """Say that a file is another one than it was; empty when it is not."""
    if not file.is_file():
        return f"{file} is not there any more"
    now = folders.digest(file)["sha256"]
    return "" if now == then else f"{file} has changed: sha256 {now[:12]}, recorded {then[:12]}"


def _commit(made_of: Provenance, folder: str, diff: str, archived: dict[str, bytes]) -> str:
    """Name the commit, and say whether it gives the recorded files, with what was not committed put over it."""
    if made_of.commit is None:
        return "no commit"
    named = f"commit {made_of.commit[:10]}" + (" with uncommitted changes" if made_of.dirty else "")
    restored = git.restored(Path(folder), made_of.commit, diff, archived)
    if restored is None:
        return named
    other = [name for name, content in restored.items() if content != archived[name]]
    return f"{named}, which gives " + (f"another {checks.some(other)}" if other else "the same tracked files")


def _since(folder: Path, archived: dict[str, bytes]) -> str:
    """Say what has changed in the spec's folder since."""
    if not folder.is_dir():
        return f"{folder} is not on this machine"
    now = {name: (folder / name).read_bytes() for name in code.sources(folder)}
    changed = sorted(name for name in {*archived, *now} if archived.get(name) != now.get(name))
    return f"changed since: {checks.some(changed)}" if changed else "not changed since"


def follow(epochs: Generator[Epoch, bool | None, Fitted], last: int | None, most: int) -> Fitted:
    """Drive a training to its end, or stop it after its last epoch, and show every epoch."""
    with training.display(most) as show:
        stop = None
        while True:
            try:
                epoch = epochs.send(stop)
            except StopIteration as end:
                fitted: Fitted = end.value
                return fitted
            show(epoch)
            stop = True if epoch.epoch == last else None


def metrics(then: Trained, spec: Spec, splits: Splits, bundle: Path, tolerance: float) -> Check:
    """Measure the new model on the validation rows."""
    now, why = tried(lambda: evaluate.measure(splits, bundle, config=spec.evaluate, folder=spec.folder))
    if now is None:
        return Check(name="metrics", verdict="failed", detail=why)
    return checks.metrics(then.metrics.get("validation", {}), now, tolerance)


def weights(store: Store, then: Trained, bundle: Path, *, free: str) -> Check:
    """Compare the new weights with those of the recorded bundle, every byte of which is verified first."""
    from raymle.reproduce.weights import apart

    try:
        recorded = bundle_of(store, then)
        folders.verify(recorded, deep=True)
    except ArtifactError as error:
        return Check(name="weights", verdict="damaged", detail=f"not to be compared: {error}")
    return checks.weights(apart(recorded, bundle, trees=then.model == "trees"), free=free)

"""What studies came to: ``studies/<study>/results/<n>.json``, one a session; the newest counts."""

import json
from typing import TYPE_CHECKING, NamedTuple

from raymle.errors import ArtifactError
from raymle.records import Study
from raymle.tracking.claims import read

if TYPE_CHECKING:
    from raymle.store import Store


class Result(NamedTuple):
    """A session's end."""

    best: str
    """The run of the best trial."""
    study: Study


def add(store: "Store", best: str, study: Study) -> None:
    """Say what a session of a study came to."""
    folder = _results(study.id)
    number = len(store.names(folder)) + 1
    told = {"best": best, "study": study.model_dump(mode="json")}
    store.write_new(f"{folder}/{number:06d}.json", json.dumps(told).encode())


def result(store: "Store", study_id: str) -> Result | None:
    """Return what the last session of a study came to; None before its first has ended."""
    names = store.names(_results(study_id))
    found = read(store, f"{_results(study_id)}/{names[-1]}") if names else None
    return Result(found["best"], Study.model_validate(found["study"])) if found else None


def named(store: "Store", ref: str) -> str | None:
    """Return the id of the one study that starts like this; None when a run does, or nothing."""
    near = [name for name in store.names("runs") if ref and name.startswith(ref)]
    meant = ref if ref in near else near[0] if len(near) == 1 else None
    return meant if meant in store.names("studies") else None


def find(store: "Store", ref: str) -> str:
    """Return a study's id by itself, a unique start of it, or ``last``.

    Raises:
        ArtifactError: there is none, or more than one.
    """
    runs = set(store.names("runs"))
    names = [name for name in store.names("studies") if name in runs]
    near = names[-1:] if ref == "last" else [name for name in names if ref and name.startswith(ref)]
    if ref in names or len(near) == 1:
        return ref if ref in names else near[0]
    if near:
        raise ArtifactError(f"{ref!r} is the start of {len(near)} studies", hint="type more of it")
    what = "no study" if ref == "last" else f"no study {ref!r}"
    raise ArtifactError(f"there is {what} in {store.uri}", hint="start one: raymle tune")


def _results(study_id: str) -> str:
    return f"studies/{study_id}/results"

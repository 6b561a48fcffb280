"""What is not needed any more: runs, whole studies, and the prepared data that nobody else uses."""

from collections.abc import Iterator, Sequence

from raymle import data, native, parents, tune
from raymle.errors import ConflictError
from raymle.store import Store, open_store
from raymle.tracking import notes, shelf, studies


def remove(refs: Sequence[str], *, storage: str = "runs", force: bool = False) -> list[str]:
    """Remove runs, studies with all their trials, and the prepared data that no other run uses; return what is gone.

    Raises:
        ConflictError: a run was promoted, and later ones could not be compared with it; ``force`` removes it too. Or
            another process of this machine works on a study.
    """
    store = open_store(storage)
    gone = [*dict.fromkeys(run_id for ref in refs for run_id in _meant(store, ref))]
    for run_id in gone:
        if (promoted := notes.promotion_of(store, run_id)) and not force:
            raise ConflictError(
                f"run {run_id} is {promoted}: without it no challenger can be compared with it",
                hint="--force removes it all the same",
            )
    whole = set(store.names("studies"))
    for run_id in gone:
        native.forget(store.root / "runs" / run_id / "bundle", store.root)
        shelf.remove(store, run_id)
        if run_id in whole:
            store.remove(f"studies/{run_id}")
    freed = data.garbage(store, {trained.splits_id for trained in shelf.every(store)} | shelf.held(store))
    return [*gone, *(f"shards {splits_id}" for splits_id in freed), *parents.garbage(store)]


def _meant(store: Store, ref: str) -> Iterator[str]:
    """Yield the run that is meant, or a study's trials and then the study: it is known until the last is gone."""
    study_id = studies.named(store, ref)
    if study_id is None:
        yield shelf.find(store, ref)
        return
    shelf.require_free(store, study_id, take_over=True)
    yield from tune.trial_runs(store, study_id)
    yield study_id

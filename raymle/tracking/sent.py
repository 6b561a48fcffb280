"""How far each journal has been sent: a small file beside it, replaced whole after every batch."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from raymle.records import Record
from raymle.tracking.client import digest
from raymle.tracking.journal import is_abandoned

NOTHING: Mapping[Path, int] = {}


class Sent(Record):
    """What MLflow has of one journal, and the names it gave."""

    uri: str
    """Digest of MLflow's address: ids mean nothing at another one."""
    run_id: str | None = None
    experiment_id: str | None = None
    offset: int = 0
    """Bytes of the journal that MLflow has."""
    finished: bool = False
    """Whether the last of them is the run's end."""
    models: dict[str, str] = {}  # noqa: RUF012  pydantic copies it
    """MLflow's id of each logged model, by name."""
    refused: tuple[str, ...] = ()
    """Events that MLflow will never take, and why."""


def journals(root: Path) -> Path:
    """Return the folder of all journals of a storage."""
    return root / "journals"


def load(journal: Path, uri: str) -> Sent:
    """Return how far a journal has been sent; nowhere when that is not known."""
    try:
        return Sent.model_validate_json(_beside(journal).read_text())
    except (FileNotFoundError, ValidationError):
        return Sent(uri=digest(uri))


def save(journal: Path, state: Sent) -> None:
    """Replace what is known of a journal."""
    draft = journal.with_suffix(".mlflow.tmp")
    draft.write_text(state.model_dump_json())
    draft.replace(_beside(journal))


def unsent(root: Path, uri: str, *, known: Mapping[Path, int] = NOTHING) -> Iterator[Path]:
    """Yield the journals that the address has not all of, or not the end of a run that died; newest first.

    Args:
        root: The storage's folder.
        uri: MLflow's address; journals that another one has begun to take are left for that one.
        known: Sizes in bytes at which journals are known to be sent.
    """
    for path in sorted(journals(root).glob("*.jsonl"), reverse=True):
        size = path.stat().st_size
        if known.get(path) == size:
            continue
        state = load(path, uri)
        is_theirs = state.run_id is not None and state.uri != digest(uri)
        if not is_theirs and (state.offset < size or (not state.finished and is_abandoned(path))):
            yield path


def _beside(journal: Path) -> Path:
    return journal.with_suffix(".mlflow.json")

"""What a study is given: its plan, and how it reaches the world. Nothing of it changes while it runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raymle import loader, tracking
from raymle.config import Spec, TuneConfig
from raymle.errors import ArtifactError
from raymle.store import Store
from raymle.tracking import Run
from raymle.tune import storage
from raymle.tune.attempts import Attempt, Ended
from raymle.tune.capacity import Room
from raymle.tune.check import most_epochs
from raymle.tune.space import Node


@dataclass(frozen=True)
class Setting:
    """A study's plan and surroundings."""

    config: TuneConfig
    space: Mapping[str, Node]
    objectives: Mapping[str, bool]
    """Whether more is better, by name; the first decides."""
    most_epochs: Callable[[Mapping[str, Any]], int]
    """Of a trial with these values."""
    shape: Callable[[Mapping[str, Any]], object]
    """Trials of one shape may train as one; None trains alone."""
    new_id: Callable[[], str]
    open_run: Callable[[str, int], Run]
    """From the id of a trial's run and its number."""
    known: Callable[[str], set[int]]
    """Epochs that are recorded of a trial's run."""
    keep: Callable[[str, Ended], None]
    """Keeps what stays of a trial that is over."""
    recall: Callable[[str], Ended | None]
    publish: Callable[[], None]
    room: Room
    per_hour: float = 0.0
    """What all nodes cost."""


def alike(waiting: Sequence[Attempt], most: int) -> list[Attempt]:
    """Return the first that waits, with those that may train as one with it, ``most`` together."""
    same = [attempt for attempt in waiting if attempt.shape is not None and attempt.shape == waiting[0].shape]
    return (same or [*waiting[:1]])[:most]


def of(
    spec: Spec, config: TuneConfig, space: Mapping[str, Node], *, rows: int, store: Store, study: Run, **plan: Any
) -> Setting:
    """Bind a study to its storage and its tracked runs.

    Args:
        spec: What the trials vary.
        config: The search.
        space: Its ranges.
        rows: How many train rows there are.
        store: Where trials are kept.
        study: The study's own run; each trial's is its child.
        plan: The rest of a Setting's fields.
    """
    metric = next(iter(plan["objectives"]))
    return Setting(
        config=config,
        space=space,
        most_epochs=lambda values: most_epochs(loader.override(spec, values), rows),
        new_id=tracking.new_id,
        open_run=lambda run_id, number: _child(spec, store, study, run_id, number),
        known=lambda run_id: tracking.recorded_steps(store, run_id, metric),
        keep=lambda run_id, ended: _keep(store, run_id, ended),
        recall=lambda run_id: recall(store, run_id),
        publish=lambda: storage.publish(store, study.id),
        **plan,
    )


def _child(spec: Spec, store: Store, study: Run, run_id: str, number: int) -> Run:
    return tracking.start(
        spec.tracking,
        store,
        experiment=spec.tracking.experiment or spec.name,
        name=f"{spec.name} {number}",
        kind="trial",
        parent=study.id,
        run_id=run_id,
    )


def _keep(store: Store, run_id: str, ended: Ended) -> None:
    store.write_new(f"runs/{run_id}/trial.json", ended.model_dump_json().encode())


def recall(store: Store, run_id: str) -> Ended | None:
    """Return what stayed of a trial; None when it has not ended."""
    try:
        return Ended.model_validate_json(store.read(f"runs/{run_id}/trial.json"))
    except ArtifactError:
        return None

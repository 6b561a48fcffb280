"""The Optuna storage of a study: the one truth about its trials, in ``studies/<study>/optuna.log``.

A wider space is a new Optuna study in the same file, which knows the trials of the one before: Optuna's ranges may
not change. ``optuna-dashboard studies/<study>/optuna.log`` opens it.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from raymle.errors import ArtifactError, ConflictError
from raymle.store import Store
from raymle.tune.space import Node, suggest

RUN, VALUES, SPACE, OBJECTIVES, SPENT = "run_id", "values", "space", "objectives", "spent"
NSGA = "NSGAIISampler:"
"""What NSGA-II notes of a trial: its generation."""


def folder_of(study_id: str) -> str:
    """Name the folder of a study in its storage."""
    return f"studies/{study_id}"


def open_study(
    store: Store,
    study_id: str,
    *,
    space: Mapping[str, Any],
    nodes: Mapping[str, Node],
    objectives: Mapping[str, bool],
    afresh: bool = False,
) -> list[optuna.Study]:
    """Open a study's Optuna studies, oldest first; the last one is the one that goes on.

    Args:
        store: The storage.
        study_id: The study's run.
        space: As it is written in the spec.
        nodes: The same, parsed.
        objectives: Whether more is better, by name.
        afresh: Whether a sampler may find nothing but trials: one that keeps its state as a pickle would unpickle it.

    Raises:
        ConflictError: the study was begun with other objectives.
    """
    place = JournalStorage(JournalFileBackend(str(_brought(store, study_id))))
    with quiet():
        every = _studies(place)
        found = [study for study in every if SPACE in study.user_attrs]  # a kill may have left one half-made
        asked = {"space": json.dumps(space, sort_keys=True), "objectives": list(objectives)}
        if found and found[-1].user_attrs[OBJECTIVES] != asked["objectives"]:
            before = ", ".join(found[-1].user_attrs[OBJECTIVES])
            raise ConflictError(
                f"study {study_id} was begun with other objectives: {before}",
                hint="put them back, or start a new study",
            )
        for trial in found[-1].get_trials(states=[TrialState.RUNNING]) if found else ():
            if RUN not in trial.user_attrs:  # a kill has come between its proposal and its beginning
                found[-1].tell(trial.number, state=TrialState.FAIL)
        if found and found[-1].user_attrs[SPACE] == asked["space"] and not afresh:
            return found
        fresh = optuna.create_study(
            storage=place,
            sampler=_unused(),
            study_name=study_id if not every else f"{study_id}/{len(every) + 1}",
            directions=["maximize" if up else "minimize" for up in objectives.values()],
        )
        fresh.set_metric_names(list(objectives))
        for earlier in found[-1:]:
            replay(earlier, fresh, nodes)
        fresh.set_user_attr(OBJECTIVES, asked["objectives"])
        fresh.set_user_attr(SPENT, found[-1].user_attrs.get(SPENT, "{}") if found else "{}")
        fresh.set_user_attr(SPACE, asked["space"])  # last: a study without it is not there yet
    return [*found, fresh]


def queue(studies: Sequence[optuna.Study], points: Sequence[Mapping[str, Any]], *, most: int) -> int:
    """Let the next trials of a grid be the points that none has begun; return how many trials there will be in all."""
    begun = [trial.params for trial in trials(studies)]
    waiting = [trial.system_attrs.get("fixed_params") for trial in studies[-1].get_trials(states=[TrialState.WAITING])]
    left = [point for point in points if point not in begun][: max(0, most - len(begun))]
    for point in left:
        if point not in waiting:
            studies[-1].enqueue_trial(dict(point))
    return len(begun) + len(left)


def load(store: Store, study_id: str) -> list[optuna.Study]:
    """Open a study's Optuna studies to read them, oldest first; another process may work on it meanwhile."""
    file = store.root / folder_of(study_id) / "optuna.log"
    place = JournalStorage(JournalFileBackend(str(file if file.exists() else _brought(store, study_id))))
    with quiet():
        return _studies(place)


def _studies(place: JournalStorage) -> list[optuna.Study]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    names = sorted((each.study_name for each in optuna.get_all_study_summaries(place)), key=_age)
    return [optuna.load_study(study_name=name, storage=place, sampler=_unused()) for name in names]


def replay(before: optuna.Study, after: optuna.Study, nodes: Mapping[str, Node]) -> None:
    """Tell a study what another one knows, as far as its ranges hold it; what has not ended is asked for again."""
    for trial in before.get_trials(deepcopy=False):
        fixed = optuna.trial.FixedTrial(trial.params)
        try:
            with warnings.catch_warnings(action="error"):  # Optuna only warns of a value out of its range
                values = suggest(fixed, nodes)
        except (ValueError, UserWarning):
            continue
        if RUN not in trial.user_attrs or values != json.loads(trial.user_attrs[VALUES]):
            continue  # an option of the same name means something else now, or a population has changed it
        if trial.state == TrialState.RUNNING:
            after.enqueue_trial(fixed.params, user_attrs=trial.user_attrs)
        elif trial.state.is_finished():
            after.add_trial(
                optuna.trial.create_trial(
                    state=trial.state, params=fixed.params, distributions=fixed.distributions, values=trial.values,
                    user_attrs=trial.user_attrs, intermediate_values=trial.intermediate_values,
                    system_attrs={name: value for name, value in trial.system_attrs.items() if name.startswith(NSGA)},
                )
            )  # fmt: skip


def trials(studies: Sequence[optuna.Study]) -> Iterator[optuna.trial.FrozenTrial]:
    """Yield every trial that was begun, once: from the newest study that knows it, in the order of their beginning.

    One that has not ended counts only in the study that goes on.
    """
    found: dict[str, optuna.trial.FrozenTrial] = {}
    for study in studies:
        for trial in study.get_trials(deepcopy=False):
            run_id = trial.user_attrs.get(RUN)
            is_open = not trial.state.is_finished()
            if run_id and not (is_open and (study is not studies[-1] or trial.state == TrialState.WAITING)):
                found[run_id] = trial
    yield from found.values()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep from the user what Optuna says of its own interfaces."""
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        yield


def publish(store: Store, study_id: str) -> None:
    """Bring the file to where every machine finds it."""
    if "://" in store.uri:
        store.publish(folder_of(study_id))


def _brought(store: Store, study_id: str) -> Path:
    """Return the study's file on this machine, without what a kill has left half-written.

    Only one process works on a study, so a lock that is there is a dead process's.
    """
    file = store.root / folder_of(study_id) / "optuna.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    here = file.read_bytes() if file.exists() else b""
    there = b""
    if "://" in store.uri:
        with suppress(ArtifactError):
            there = store.read(f"{folder_of(study_id)}/optuna.log")
    whole = max(here, there, key=len)
    whole = whole[: whole.rfind(b"\n") + 1]
    if whole != here:
        file.write_bytes(whole)
    for lock in file.parent.glob("optuna.log.lock*"):
        lock.unlink()
    return file


def _unused() -> optuna.samplers.BaseSampler:
    """Return a sampler that is replaced before a trial is asked for."""
    return optuna.samplers.RandomSampler(seed=0)


def _age(name: str) -> int:
    """Return which of a study's Optuna studies has this name, from 1."""
    _, slash, number = name.rpartition("/")
    return int(number) if slash else 1

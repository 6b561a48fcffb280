"""The records of all runs of a storage: plain files, no server.

runs/<run>/begun.json                   the spec, from the start
runs/<run>/attempts/<n>.json            who works on it, in turn         <n>-over.json   how that ended without a model
runs/<run>/record.json spec.json        a finished run
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from raymle.config import Spec
from raymle.errors import ArtifactError, ConflictError, UsageError
from raymle.records import Metrics, Splits, Status, Study, Trained
from raymle.tracking import keys, studies
from raymle.tracking.claims import is_alive, is_here, myself, read

if TYPE_CHECKING:
    from raymle.store import Store


def save(store: "Store", trained: Trained, spec: Spec) -> None:
    """Put a finished run on the shelf; its record last, for until then it is not there.

    Raises:
        ConflictError: another record has that id.
    """
    for name, data in (("spec", spec), ("record", trained)):
        path = f"runs/{trained.run_id}/{name}.json"
        text = data.model_dump_json(by_alias=True, indent=1).encode()
        if not store.write_new(path, text) and store.read(path) != text:
            raise ConflictError(f"{path} is there already with other contents")


def save_failed(
    store: "Store",
    run_id: str,
    spec: Spec,
    splits: Splits,
    *,
    status: Status,
    reason: str = "",
    execution: Literal["inline", "ray"] = "inline",
    seconds: Metrics | None = None,
) -> None:
    """Say that an attempt came to no model, and why; another one may go on with the run."""
    trained = _unfinished(run_id, spec, splits, status=status)
    trained = trained.model_copy(update={"seconds": seconds or {}, "execution": execution})
    _end(store, run_id, {"reason": reason, "record": trained.model_dump(mode="json")})


def hold(store: "Store", run_id: str, spec: Spec, splits: Splits, *, kind: str, take_over: bool = False) -> None:
    """Say that an attempt at a run begins: it needs its prepared data, and is seen although it has no record yet.

    Raises:
        ConflictError: another process works on the run.
    """
    number, claim, over = _attempt(store, run_id)
    begun = _unfinished(run_id, spec, splits, status="running")
    mine = {"splits_id": splits.id, "kind": kind, **myself(), "begun": begun.model_dump(mode="json")}
    is_free = over is not None or claim is None or not is_alive(claim) or (take_over and not is_here(claim))
    if not is_free or not store.write_new(f"{_attempts(run_id)}/{number + 1:06d}.json", json.dumps(mine).encode()):
        raise ConflictError(f"another process works on run {run_id}", hint="wait for it, or end it")
    store.write_new(f"runs/{run_id}/begun.json", spec.model_dump_json(by_alias=True, indent=1).encode())


def let_go(store: "Store", run_id: str) -> None:
    """Say that a run is over that has no record of its own, as a study has none: its best run has."""
    _end(store, run_id, {})


def crown(store: "Store", trained: Trained, study: Study, *, key: str | None = None) -> Trained:
    """Say which run a session of a study came to, and that the study is over for now."""
    studies.add(store, trained.run_id, study)
    if key:
        keys.claim(store, key, trained.run_id, instead_of=study.id)
    let_go(store, study.id)
    return trained.model_copy(update={"study": study})


def require_free(store: "Store", study_id: str, *, take_over: bool = False) -> None:
    """Make sure that nobody works on a study.

    Raises:
        ConflictError: another process does, or may do on another machine.
    """
    _, claim, over = _attempt(store, study_id)
    if claim is None or over is not None or not is_alive(claim):
        return
    if is_here(claim):
        raise ConflictError(f"another process works on study {study_id}", hint="wait for it, or end it")
    if not take_over:
        raise ConflictError(
            f"study {study_id} is running on another machine, as far as this one can know",
            hint="if that machine is gone, add --take-over",
        )


def splits_of(store: "Store", run_id: str) -> str:
    """Return the id of the prepared data that a run, or a study, was begun with."""
    claim = _attempt(store, run_id)[1]
    return str(claim["splits_id"]) if claim else load(store, run_id).splits_id


def finished(store: "Store", run_id: str) -> Trained | None:
    """Return the record of a run that is finished; None when it is not."""
    return _record(store, run_id) if _has_record(store, run_id) else None


def held(store: "Store") -> set[str]:
    """Return the prepared data that runs use now; a process that died on this machine holds nothing."""
    found = (_attempt(store, name) for name in store.names("runs") if not _has_record(store, name))
    return {claim["splits_id"] for _, claim, over in found if claim and over is None and is_alive(claim)}


def unfinished(store: "Store", ref: str, *, take_over: bool = False) -> Trained:
    """Find a run that was stopped or failed, by its id, a unique start of one, or ``last``.

    ``take_over`` counts as stopped what works on another machine, which only its owner knows to be gone.

    Raises:
        ArtifactError: there is none.
        ConflictError: it is finished, or goes on.
        UsageError: it is a study.
    """
    if ref == "last":
        single = (each for each in every(store) if each.status in {"killed", "failed"} and _kind(store, each) == "run")
        newest = next(single, None)
        if newest is None:
            raise ArtifactError(f"no run in {store.uri} was stopped or failed", hint="start one: raymle train")
        return newest
    found = load(store, find(store, ref))
    claim = _attempt(store, found.run_id)[1]
    is_far = claim is not None and not is_here(claim)
    if found.status == "running" and is_far and not take_over:
        raise ConflictError(
            f"run {found.run_id} is running on another machine, as far as this one can know",
            hint="if that machine is gone, add --take-over",
        )
    if found.status == "finished" or (found.status == "running" and not is_far):
        raise ConflictError(f"run {found.run_id} is {found.status}: there is nothing to resume")
    if _kind(store, found) != "run":
        raise UsageError(f"{found.run_id} is a study; `raymle train --resume` goes on with a single run")
    return found


def is_from_elsewhere(store: "Store", run_id: str) -> bool:
    """Whether another machine has worked on a run."""
    names = [name for name in store.names(_attempts(run_id)) if not name.endswith("-over.json")]
    claims = (read(store, f"{_attempts(run_id)}/{name}") for name in names)
    return any(claim is not None and not is_here(claim) for claim in claims)


def _kind(store: "Store", trained: Trained) -> str:
    return str((_attempt(store, trained.run_id)[1] or {}).get("kind", "run"))


def load(store: "Store", run_id: str) -> Trained:
    """Return a run's record.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    found = _record(store, run_id)
    if found is None:
        raise ArtifactError(f"there is no run {run_id} in {store.uri}", hint="raymle runs ls shows what is there")
    return found


def load_spec(store: "Store", run_id: str) -> Spec:
    """Return the spec that made a run."""
    try:
        return Spec.model_validate_json(store.read(f"runs/{run_id}/spec.json"))
    except ArtifactError:
        return Spec.model_validate_json(store.read(f"runs/{run_id}/begun.json"))


def find(store: "Store", ref: str) -> str:
    """Return the id of a run by its id, a unique prefix of it, ``last``, or its study's id.

    Raises:
        ArtifactError: there is none, or more than one.
    """
    if ref == "last":
        newest = [trained for trained in every(store) if trained.status == "finished"]
        if not newest:
            raise ArtifactError(f"there is no run in {store.uri}", hint="make one: raymle train")
        return newest[0].run_id
    names = store.names("runs")
    if ref in names and _record(store, ref):
        return ref
    near = [name for name in names if name.startswith(ref) and _record(store, name)] if ref else []
    if len(near) == 1:
        return near[0]
    if len(near) > 1:
        raise ArtifactError(f"{ref!r} is the start of {len(near)} runs: {_some(near)}", hint="type more of it")
    found = {name: studies.result(store, name) for name in store.names("studies") if ref and name.startswith(ref)}
    best = [each.best for each in found.values() if each]
    if len(best) == 1:
        return best[0]
    close = get_close_matches(ref, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "raymle runs ls shows what is there"
    raise ArtifactError(f"there is no run {ref!r} in {store.uri}", hint=hint)


def every(store: "Store") -> list[Trained]:
    """Return every run's record, newest first."""
    with ThreadPoolExecutor(8) as pool:  # an object store takes 30 ms for each
        found = pool.map(lambda name: _whole(store, name), store.names("runs"))
        return sorted((trained for trained in found if trained), key=lambda trained: trained.run_id, reverse=True)


def _whole(store: "Store", run_id: str) -> Trained | None:
    """Return a run's record; a damaged one is named and does not hide the others."""
    try:
        return _record(store, run_id)
    except ArtifactError as error:
        print(f"warning: {error}", file=sys.stderr)  # noqa: T201
        return None


def remove(store: "Store", run_id: str) -> None:
    """Remove a run or a study from the shelf and free its key; MLflow keeps what it was told."""
    key = read(store, f"runs/{run_id}/key.json")
    if key and keys.run_of(store, key["key"]) == run_id:
        keys.release(store, key["key"])
    store.remove(f"runs/{run_id}")


def reason(store: "Store", run_id: str) -> str:
    """Return why a run came to no model; empty when it did."""
    over = _attempt(store, run_id)[2] or {}
    return "" if _has_record(store, run_id) else str(over.get("reason", ""))


def _record(store: "Store", run_id: str) -> Trained | None:
    """Return a run's record; of one that has none, what is known of its beginning, and whether it goes on."""
    data = read(store, f"runs/{run_id}/record.json")
    try:
        if data:
            return _with_study(store, Trained.model_validate(data))
        _, claim, over = _attempt(store, run_id)
        if over is not None:
            return Trained.model_validate(over["record"]) if "record" in over else None
        if claim is None:
            return None
        status = "running" if is_alive(claim) else "killed"
        return Trained.model_validate(claim["begun"]).model_copy(update={"status": status})
    except ValidationError as error:
        problem = str(error).splitlines()[0]
        raise ArtifactError(f"runs/{run_id}/record.json is damaged: {problem}", hint="remove that folder") from None


def _with_study(store: "Store", trained: Trained) -> Trained:
    """Put the newest counts of its study into a record; a former best keeps those of its time."""
    study_id = trained.study.id if trained.study else trained.parent
    newest = studies.result(store, study_id) if study_id else None
    is_best = newest is not None and newest.best == trained.run_id
    return trained.model_copy(update={"study": newest.study}) if newest and is_best else trained


def _attempts(run_id: str) -> str:
    return f"runs/{run_id}/attempts"


def _attempt(store: "Store", run_id: str) -> tuple[int, dict[str, Any] | None, dict[str, Any] | None]:
    """Return the number of the last attempt at a run, who makes it, and how it ended, if it did without a model."""
    names = store.names(_attempts(run_id))
    begun = [name for name in names if not name.endswith("-over.json")]
    if not begun:
        return 0, None, None
    last = begun[-1].removesuffix(".json")
    over = read(store, f"{_attempts(run_id)}/{last}-over.json") if f"{last}-over.json" in names else None
    return int(last), read(store, f"{_attempts(run_id)}/{begun[-1]}"), over


def _end(store: "Store", run_id: str, how: dict[str, Any]) -> None:
    number = _attempt(store, run_id)[0]
    store.write_new(f"{_attempts(run_id)}/{number:06d}-over.json", json.dumps(how).encode())


def _unfinished(run_id: str, spec: Spec, splits: Splits, *, status: Status) -> Trained:
    return Trained(
        run_id=run_id, name=spec.name, status=status, task=splits.data_schema.kind, metric="", metrics={}, bundle="",
        splits_id=splits.id, rows=dict(splits.rows), seconds={}, execution="inline", model=spec.model.type,
        parameters=0,
    )  # fmt: skip


def _has_record(store: "Store", run_id: str) -> bool:
    return read(store, f"runs/{run_id}/record.json") is not None


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")

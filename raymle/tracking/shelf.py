"""The records of all runs of a storage: plain files, no server.

runs/<run>/record.json spec.json key.json        keys/<digest>/<n>.json   who took an idempotence key, in turn
"""

import hashlib
import json
import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from raymle.config import Spec
from raymle.errors import ArtifactError, ConflictError
from raymle.records import Metrics, Splits, Status, Trained

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
    """Put a run that came to no model on the shelf; ``reason`` goes beside it."""
    trained = _unfinished(run_id, spec, splits, status=status)
    trained = trained.model_copy(update={"seconds": seconds or {}, "execution": execution})
    store.write_new(f"runs/{run_id}/reason.txt", reason.encode())
    if not _has_record(store, run_id):
        save(store, trained, spec)


def hold(store: "Store", run_id: str, spec: Spec, splits: Splits, *, kind: str) -> None:
    """Say that a run has begun: it needs its prepared data, and is seen although it has no record yet."""
    begun = _unfinished(run_id, spec, splits, status="running")
    claim = {"splits_id": splits.id, "kind": kind, **_myself(), "begun": begun.model_dump(mode="json")}
    store.write_new(f"runs/{run_id}/using.json", json.dumps(claim).encode())
    store.write_new(f"runs/{run_id}/begun.json", spec.model_dump_json(by_alias=True, indent=1).encode())


def let_go(store: "Store", run_id: str) -> None:
    """Say that a run is over that has no record of its own, as a study has none: its best run has."""
    store.write_new(f"runs/{run_id}/over.json", b"{}")


def held(store: "Store") -> set[str]:
    """Return the prepared data that runs use now; a process that died on this machine holds nothing."""
    claims = (_read(store, f"runs/{name}/using.json") for name in store.names("runs") if not _has_record(store, name))
    return {claim["splits_id"] for claim in claims if claim and _is_alive(claim)}


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
    best = [trained.run_id for trained in every(store) if trained.study and trained.study.id.startswith(ref or "-")]
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
    """Remove a run from the shelf and free its key; MLflow keeps what it was told."""
    load(store, run_id)
    key = _read(store, f"runs/{run_id}/key.json")
    if key and by_key(store, key["key"]) == run_id:
        release_key(store, key["key"])
    store.remove(f"runs/{run_id}")


def note_promotion(store: "Store", run_id: str, version: str) -> None:
    """Keep with a run that it was promoted."""
    store.write_new(f"runs/{run_id}/promoted.json", json.dumps({"version": version}).encode())


def promotion_of(store: "Store", run_id: str) -> str | None:
    """Return the version that a run was promoted to."""
    found = _read(store, f"runs/{run_id}/promoted.json")
    return str(found["version"]) if found else None


def reason(store: "Store", run_id: str) -> str:
    """Return why a run came to no model; empty when it did."""
    try:
        return store.read(f"runs/{run_id}/reason.txt").decode()
    except ArtifactError:
        return ""


def by_key(store: "Store", key: str) -> str | None:
    """Return the run that finished under an idempotence key."""
    claim = _claim(store, key)[1]
    run_id = claim.get("run_id")
    trained = _record(store, run_id) if run_id else None
    return trained.run_id if trained and trained.status == "finished" else None


def claim_key(store: "Store", key: str, run_id: str, *, instead_of: str | None = None) -> bool:
    """Take a key for a run that is about to start; False while another run has finished or works under it.

    A claim whose process died on this machine is taken over. ``instead_of`` names a run that hands its key on.
    """
    number, claim = _claim(store, key)
    holder = claim.get("run_id")
    if holder and holder != instead_of and (_has_record(store, holder) or _is_alive(claim)):
        return False
    mine = {"run_id": run_id, "key": key, **_myself()}
    if not _take(store, key, number + 1, mine):
        return False
    return store.write_new(f"runs/{run_id}/key.json", json.dumps({"key": key}).encode())


def holder(store: "Store", key: str) -> str | None:
    """Return the run that a key belongs to now."""
    found: str | None = _claim(store, key)[1].get("run_id")
    return found


def release_key(store: "Store", key: str) -> None:
    """Free a key, so that the next run may take it."""
    number, claim = _claim(store, key)
    if claim.get("run_id"):
        _take(store, key, number + 1, {"run_id": None, "key": key})


def _take(store: "Store", key: str, number: int, claim: dict[str, Any]) -> bool:
    return store.write_new(f"{_folder(key)}/{number:06d}.json", json.dumps(claim).encode())


def _claim(store: "Store", key: str) -> tuple[int, dict[str, Any]]:
    """Return the number and the contents of the last claim of a key."""
    names = store.names(_folder(key))
    if not names:
        return 0, {}
    return int(names[-1].split(".")[0]), _read(store, f"{_folder(key)}/{names[-1]}") or {}


def _folder(key: str) -> str:
    return f"keys/{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _myself() -> dict[str, Any]:
    return {"host": platform.node(), "pid": os.getpid(), "born": _born(os.getpid())}


def _is_alive(claim: dict[str, Any]) -> bool:
    """Whether the claim's process still works; on another machine we can't know, so yes."""
    return bool(claim["host"] != platform.node() or _born(claim["pid"]) == claim["born"])


def _born(pid: int) -> float | None:
    import psutil  # type: ignore[import-untyped]

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _record(store: "Store", run_id: str) -> Trained | None:
    """Return a run's record; of one that has none, what is known of its beginning, and whether it goes on."""
    data = _read(store, f"runs/{run_id}/record.json")
    try:
        if data:
            return Trained.model_validate(data)
        claim = _read(store, f"runs/{run_id}/using.json")
        if not claim or "begun" not in claim or _read(store, f"runs/{run_id}/over.json") is not None:
            return None
        status = "running" if _is_alive(claim) else "killed"
        return Trained.model_validate(claim["begun"]).model_copy(update={"status": status})
    except ValidationError as error:
        problem = str(error).splitlines()[0]
        raise ArtifactError(f"runs/{run_id}/record.json is damaged: {problem}", hint="remove that folder") from None


def _unfinished(run_id: str, spec: Spec, splits: Splits, *, status: Status) -> Trained:
    return Trained(
        run_id=run_id, name=spec.name, status=status, task=splits.data_schema.task, metric="", metrics={}, bundle="",
        splits_id=splits.id, rows=dict(splits.rows), seconds={}, execution="inline", model=spec.model.type,
        parameters=0,
    )  # fmt: skip


def _has_record(store: "Store", run_id: str) -> bool:
    return _read(store, f"runs/{run_id}/record.json") is not None


def _read(store: "Store", name: str) -> dict[str, Any] | None:
    try:
        data: dict[str, Any] = json.loads(store.read(name))
    except ArtifactError:
        return None
    except ValueError:
        raise ArtifactError(f"{name} is damaged: it is not JSON", hint="remove that folder") from None
    return data


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")

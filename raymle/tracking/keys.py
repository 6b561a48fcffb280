"""Idempotence keys: who took one, in turn.

keys/<digest>/<n>.json
"""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from raymle.tracking.claims import is_alive, myself, read

if TYPE_CHECKING:
    from raymle.store import Store


def run_of(store: "Store", key: str) -> str | None:
    """Return the run that finished under an idempotence key."""
    run_id = _claim(store, key)[1].get("run_id")
    return str(run_id) if run_id and _is_finished(store, run_id) else None


def claim(store: "Store", key: str, run_id: str, *, instead_of: str | None = None) -> bool:
    """Take a key for a run that is about to start; False while another run has finished or works under it.

    A claim whose process died on this machine is taken over. ``instead_of`` names a run that hands its key on.
    """
    number, last = _claim(store, key)
    taken = last.get("run_id")
    if taken and taken != instead_of and (_is_finished(store, taken) or is_alive(last)):
        return False
    mine = {"run_id": run_id, "key": key, **myself()}
    if not _take(store, key, number + 1, mine):
        return False
    store.write_new(f"runs/{run_id}/key.json", json.dumps({"key": key}).encode())  # a run that goes on has it
    return True


def of(store: "Store", run_id: str) -> str | None:
    """Return the key that a run was started with."""
    found = read(store, f"runs/{run_id}/key.json")
    return str(found["key"]) if found else None


def held_by(store: "Store", run_id: str) -> str | None:
    """Return the key that a run was started with, unless another run has it now."""
    key = of(store, run_id)
    return key if key and holder(store, key) in {None, run_id} else None


def holder(store: "Store", key: str) -> str | None:
    """Return the run that a key belongs to now."""
    found: str | None = _claim(store, key)[1].get("run_id")
    return found


def release(store: "Store", key: str) -> None:
    """Free a key, so that the next run may take it."""
    number, last = _claim(store, key)
    if last.get("run_id"):
        _take(store, key, number + 1, {"run_id": None, "key": key})


def _take(store: "Store", key: str, number: int, claim: dict[str, Any]) -> bool:
    return store.write_new(f"{_folder(key)}/{number:06d}.json", json.dumps(claim).encode())


def _claim(store: "Store", key: str) -> tuple[int, dict[str, Any]]:
    """Return the number and the contents of the last claim of a key."""
    names = store.names(_folder(key))
    if not names:
        return 0, {}
    return int(names[-1].split(".")[0]), read(store, f"{_folder(key)}/{names[-1]}") or {}


def _folder(key: str) -> str:
    return f"keys/{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _is_finished(store: "Store", run_id: str) -> bool:
    record = read(store, f"runs/{run_id}/record.json")
    return record is not None and record.get("status") == "finished"

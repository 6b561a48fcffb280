"""Which process works on something, written down where others look."""

import json
import os
import platform
from typing import TYPE_CHECKING, Any

from raymle.errors import ArtifactError

if TYPE_CHECKING:
    from raymle.store import Store


def myself() -> dict[str, Any]:
    """Return what tells this process from every other, later ones with its number too."""
    return {"host": platform.node(), "pid": os.getpid(), "born": _born(os.getpid())}


def is_here(claim: dict[str, Any]) -> bool:
    """Whether the claim's process works, or worked, on this machine."""
    return bool(claim["host"] == platform.node())


def is_alive(claim: dict[str, Any]) -> bool:
    """Whether the claim's process still works; on another machine we can't know, so yes."""
    return bool(not is_here(claim) or _born(claim["pid"]) == claim["born"])


def _born(pid: int) -> float | None:
    import psutil  # type: ignore[import-untyped]

    try:
        return float(round(psutil.Process(pid).create_time() - psutil.boot_time(), 1))  # both move with the clock
    except psutil.Error:
        return None


def read(store: "Store", name: str) -> dict[str, Any] | None:
    """Return a small JSON object of a storage; None when it is not there."""
    try:
        data: dict[str, Any] = json.loads(store.read(name))
    except ArtifactError:
        return None
    except ValueError:
        raise ArtifactError(f"{name} is damaged: it is not JSON", hint="remove that folder") from None
    return data

"""Whether this machine is fit for the work: a few quick looks, each with what to do about it."""

import os
import shutil
import socket
import sys
import urllib.request
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal
from urllib.error import URLError
from urllib.parse import urlparse

from packaging.requirements import Requirement

from raymle.loader import environment
from raymle.records import Record

Answer = Literal["ok", "warn", "fail"]
PATIENCE_S = 1.5
UNSAFE_SWITCHES = (
    "RAY_DATA_AUTOLOAD_PYEXTENSIONTYPE",
    "RAY_DATA_AUTOLOAD_PICKLE_OBJECT_SCALAR",
    "RAY_DATA_ARROW_EXTENSION_SERIALIZATION_CLOUDPICKLE",
    "RAY_DATA_WEBDATASET_ALLOW_UNSAFE_DESERIALIZATION",
)


class Check(Record):
    """One look at the machine."""

    name: str
    answer: Answer
    detail: str
    fix: str = ""


def checks(
    storage: str = ".", *, tracking_uri: str | None = None, ports: tuple[int, ...] = (8000, 5000)
) -> list[Check]:
    """Look at everything; a few seconds at most, network or not."""
    looks: list[Callable[[], Check]] = [
        python, packages, cores, memory, shared_memory,
        lambda: disk(storage), lambda: writable(storage),
        *(lambda port=port: free(port) for port in ports),
        token, switches, cluster, lambda: tracking(tracking_uri or environment("MLFLOW_TRACKING_URI")),
    ]  # fmt: skip
    return [look() for look in looks]


def python() -> Check:
    """Say which Python runs."""
    found = ".".join(map(str, sys.version_info[:3]))
    return Check(name="python", answer="ok", detail=f"{found} in {sys.prefix}")


def packages() -> Check:
    """Compare what is installed with what raymle declares."""
    declared = [Requirement(line) for line in requires("raymle") or []]
    wrong = [text for each in declared if not each.marker or each.marker.evaluate() if (text := _misfit(each))]
    shown = f"ray {_version('ray')}, torch {_version('torch')}, mlflow {_version('mlflow')}"
    if not wrong:
        return Check(name="packages", answer="ok", detail=shown)
    fix = "pip install -c constraints.txt -e ."
    return Check(name="packages", answer="fail", detail="; ".join(wrong), fix=fix)


def _misfit(needed: Requirement) -> str:
    found = _version(needed.name)
    if found == "missing":
        return f"{needed.name} is missing"
    return "" if needed.specifier.contains(found, prereleases=True) else f"{needed.name} {found} is not {needed}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def cores() -> Check:
    """Count the cores that this process may use, and see whether there is a GPU driver."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpu = "a GPU driver" if shutil.which("nvidia-smi") else "no GPU driver"
    return Check(name="cores", answer="ok", detail=f"{count} CPU cores, {gpu}")


def memory() -> Check:
    """Look at the memory that is free."""
    import psutil  # type: ignore[import-untyped]

    free_gib = psutil.virtual_memory().available / 2**30
    fix = "" if free_gib >= 2 else "close other programs; Ray and torch need about 2 GiB"
    return Check(name="memory", answer="warn" if fix else "ok", detail=f"{free_gib:.1f} GiB free", fix=fix)


def shared_memory() -> Check:
    """Look at /dev/shm, where Ray keeps objects; containers often have 64 MB."""
    place = Path("/dev/shm")  # noqa: S108  it is only measured
    if not place.is_dir():
        return Check(name="shared memory", answer="ok", detail="not used on this system")
    free_mib = shutil.disk_usage(place).free / 2**20
    fix = "" if free_mib >= 512 else "start the container with --shm-size=2g"
    return Check(name="shared memory", answer="warn" if fix else "ok", detail=f"{free_mib:,.0f} MiB free", fix=fix)


def disk(storage: str) -> Check:
    """Look at the space where results go."""
    if "://" in storage:
        return Check(name="disk", answer="ok", detail=f"{storage} is remote")
    free_gib = shutil.disk_usage(_nearest(storage)).free / 2**30
    answer: Answer = "ok" if free_gib >= 5 else "warn" if free_gib >= 1 else "fail"
    fix = "" if answer == "ok" else "free some space, or set storage to another disk"
    return Check(name="disk", answer=answer, detail=f"{free_gib:.1f} GiB free", fix=fix)


def writable(storage: str) -> Check:
    """See whether results can be written."""
    if "://" in storage or os.access(_nearest(storage), os.W_OK):
        return Check(name="storage", answer="ok", detail=storage)
    return Check(name="storage", answer="fail", detail=f"{storage} is not writable", fix="set storage elsewhere")


def _nearest(storage: str) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    path = Path(storage).resolve()
    return next(each for each in (path, *path.parents) if each.is_dir())


def free(port: int) -> Check:
    """See whether a default port is free."""
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    fix = "choose another with serve.port or --port" if taken else ""
    return Check(name=f"port {port}", answer="warn" if taken else "ok", detail="taken" if taken else "free", fix=fix)


def token() -> Check:
    """See whether only the user can read Ray's token, and whether it is used."""
    path = Path(environment("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    if environment("RAY_AUTH_MODE") == "disabled":
        fix = "unset RAY_AUTH_MODE, or set it to token"
        return Check(name="ray token", answer="warn", detail="RAY_AUTH_MODE is disabled", fix=fix)
    if not path.exists():
        return Check(name="ray token", answer="ok", detail="none yet; a local Ray gets one of its own")
    if path.stat().st_mode & 0o077:
        return Check(name="ray token", answer="warn", detail=f"others can read {path}", fix=f"chmod 600 {path}")
    return Check(name="ray token", answer="ok", detail=f"{path}, for this user only")


def switches() -> Check:
    """Look for Ray Data switches that let a data file run code."""
    found = [name for name in UNSAFE_SWITCHES if environment(name)]
    if not found:
        return Check(name="unsafe switches", answer="ok", detail="none set")
    detail = f"{', '.join(found)}: a data file could run code"
    return Check(name="unsafe switches", answer="fail", detail=detail, fix=f"unset {' '.join(found)}")


def cluster() -> Check:
    """See whether the cluster that RAY_ADDRESS names is there."""
    address = environment("RAY_ADDRESS")
    if not address or address == "auto":
        return Check(name="cluster", answer="ok", detail="RAY_ADDRESS is not set: a local Ray")
    parts = urlparse(address if "://" in address else f"ray://{address}")
    try:
        socket.create_connection((parts.hostname or "", parts.port or 6379), timeout=PATIENCE_S).close()
    except OSError as error:
        detail = f"{address} does not answer: {error}"
        return Check(name="cluster", answer="fail", detail=detail, fix="start it, or unset RAY_ADDRESS")
    return Check(name="cluster", answer="ok", detail=f"{address} answers")


def tracking(uri: str | None) -> Check:
    """See whether the MLflow server is there."""
    if not uri or not uri.startswith(("http://", "https://")):
        return Check(name="mlflow", answer="ok", detail=uri.split("@")[-1] if uri else "SQLite in storage")
    shown = urlparse(uri).hostname or "?"
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=PATIENCE_S):  # noqa: S310  http(s) only
            return Check(name="mlflow", answer="ok", detail=f"{shown} answers")
    except (URLError, OSError, ValueError) as error:
        fix = "runs are kept locally and sent later; check MLFLOW_TRACKING_URI"
        return Check(name="mlflow", answer="warn", detail=f"{shown}: {error}", fix=fix)

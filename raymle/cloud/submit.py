"""A folder and a command to a cluster's Jobs API: what would be sent, sending it, following it."""

import asyncio
import hashlib
import secrets
import shlex
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec

from raymle.errors import ResourceError, SetupError, SpecError, UsageError, WorkError
from raymle.loader import environment
from raymle.records import Record

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

NEVER = (
    ".git", ".venv", "venv", "__pycache__", "*.pyc", ".*_cache", ".hypothesis", ".ray",
    "/runs", "/mlruns", "mlflow.db", ".env*", "*.pem", "*.key",
    "id_rsa*", "id_ed25519*", "id_ecdsa*", "id_dsa*",
    ".aws", ".ssh", ".gcp", ".azure", ".kube", ".netrc", ".pypirc",
)  # fmt: skip
"""Never sent, whatever the ignore files say: secrets, histories, results."""
LARGEST_FILE = 50 * 2**20
LARGEST_UPLOAD = 500 * 2**20
ENDED = {"SUCCEEDED", "FAILED", "STOPPED"}
UNPACKED = "_ray_pkg_"
NOT_YET = "No available agent"
"""What a head says that has just been started."""
START_S = 30
Rules = list[tuple[Path, GitIgnoreSpec]]


class Upload(Record):
    """What a submit would send."""

    folder: str
    files: tuple[str, ...]
    bytes: int
    left_out: tuple[str, ...]
    """Files over 50 MB, and links that lead out of the folder; what ignore files name is not listed."""


class Job(Record):
    """A submitted job."""

    id: str
    status: str
    address: str
    entrypoint: str
    reused: bool = False


def preview(folder: str | Path) -> Upload:
    """List what a submit would send: no ignored files, no secrets, nothing over 50 MB."""
    root = Path(folder).resolve()
    if not root.is_dir():
        raise UsageError(f"{folder} is not a folder")
    found = list(_walk(root, [(root, GitIgnoreSpec.from_lines(NEVER))]))
    large = {path for path in found if not _stays_inside(path, root) or path.stat().st_size > LARGEST_FILE}
    kept = [path for path in found if path not in large]
    return Upload(
        folder=str(root),
        files=tuple(path.relative_to(root).as_posix() for path in kept),
        bytes=sum(path.stat().st_size for path in kept),
        left_out=tuple(sorted(path.relative_to(root).as_posix() for path in large)),
    )


def _walk(folder: Path, rules: Rules) -> Iterator[Path]:
    """Yield the files, sorted, that no rule from here up ignores; linked folders are not entered."""
    written = [folder / name for name in (".gitignore", ".rayignore") if (folder / name).is_file()]
    rules = [*rules, *((folder, GitIgnoreSpec.from_lines(path.read_text().splitlines())) for path in written)]
    for path in sorted(folder.iterdir()):
        is_folder = path.is_dir() and not path.is_symlink()
        slash = "/" if is_folder else ""
        if any(spec.match_file(path.relative_to(base).as_posix() + slash) for base, spec in rules):
            continue
        if is_folder:
            yield from _walk(path, rules)
        elif path.is_file():
            yield path


def _stays_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root)


def pack(upload: Upload, target: Path) -> None:
    """Zip exactly the files of a preview; the same files give the same bytes, so a cluster keeps one copy."""
    if not upload.files:
        raise UsageError(f"{upload.folder} holds nothing to send")
    if upload.bytes > LARGEST_UPLOAD:
        raise ResourceError(
            f"{upload.folder} is {upload.bytes / 2**20:,.0f} MB; a cluster takes {LARGEST_UPLOAD >> 20} MB",
            hint="put data into an object store, and what is not needed into .rayignore",
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in upload.files:
            entry = zipfile.ZipInfo(name)  # dated 1980: a time of change would change the content's hash
            entry.external_attr = (Path(upload.folder, name).stat().st_mode & 0o777) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, Path(upload.folder, name).read_bytes())


def submit(
    address: str,
    entrypoint: Sequence[str],
    folder: str | Path,
    *,
    follow: Callable[[str], object] | None = None,
    key: str | None = None,
) -> Job:
    """Send a folder and start a command in it on a cluster.

    Args:
        address: The dashboard's ``http://`` address.
        entrypoint: The command and its arguments; ``python`` is the cluster's.
        folder: What is sent; see ``preview``.
        follow: Called with each piece of the job's output until it ends; None returns at once.
        key: The same key means the same job, however often it is submitted.

    Raises:
        SetupError: no cluster answers there, or it wants another token.
        WorkError: the job was followed and failed.
    """
    if not entrypoint:
        raise UsageError("there is no command to submit", hint="raymle submit -- python jobs/flights/run.py")
    upload = preview(folder)
    client = connect(address)
    name = f"raymle-{hashlib.sha256(key.encode()).hexdigest()[:16] if key else secrets.token_hex(8)}"
    command = shlex.join(entrypoint)
    reused = _exists(client, name) or not _start(client, name, command, upload)
    status = str(client.get_job_status(name).value) if follow is None else _follow(client, name, follow)
    return Job(id=name, status=status, address=address, entrypoint=command, reused=reused)


def connect(address: str) -> "JobSubmissionClient":
    """Return a client of a cluster's Jobs API that has answered."""
    if not address.startswith(("http://", "https://")):
        raise UsageError(
            f"{address!r} is not a dashboard's address", hint="for instance --address http://127.0.0.1:8265"
        )
    from ray.exceptions import RayError
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except (ConnectionError, RuntimeError, RayError) as error:
        raise SetupError(
            f"no Jobs API answers at {address}: {' '.join(str(error).split())[:200]}",
            hint="is the cluster up, the tunnel open, and RAY_AUTH_MODE=token with RAY_AUTH_TOKEN_PATH set?",
        ) from error


def _start(client: "JobSubmissionClient", name: str, command: str, upload: Upload) -> bool:
    """Start the job; False when another submit with the same key was first."""
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "folder.zip"
        pack(upload, archive)
        deadline = time.monotonic() + START_S
        while True:
            try:
                client.submit_job(entrypoint=command, submission_id=name, runtime_env={"working_dir": str(archive)})
            except RuntimeError as error:
                if _exists(client, name):
                    return False
                if NOT_YET not in str(error) or time.monotonic() > deadline:
                    reason = " ".join(str(error).split())[:300]
                    raise SetupError(f"the cluster refused the job: {reason}") from error
                time.sleep(1)
            else:
                return True


def _exists(client: "JobSubmissionClient", name: str) -> bool:
    try:
        client.get_job_info(name)
    except RuntimeError as error:
        if "404" in str(error):
            return False
        raise SetupError(f"the cluster refused to answer: {' '.join(str(error).split())[:300]}") from error
    return True


def _follow(client: "JobSubmissionClient", name: str, follow: Callable[[str], object]) -> str:
    """Show a job's output to its end, and return its status if that is a success."""
    try:
        asyncio.run(_tail(client, name, follow))
        status = _wait(client, name)
        message = client.get_job_info(name).message or "no reason given"
    except OSError as error:  # what HTTP clients raise when the head goes
        raise SetupError(f"the cluster went away while job {name} was followed: {str(error)[:200]}") from error
    if status != "SUCCEEDED":
        raise WorkError(f"job {name} {status.lower()}: {message.strip().splitlines()[-1][:300]}")
    return status


async def _tail(client: "JobSubmissionClient", name: str, follow: Callable[[str], object]) -> None:
    async for text in client.tail_job_logs(name):
        follow(text)


def _wait(client: "JobSubmissionClient", name: str, *, timeout_s: float = 60) -> str:
    """Return the final status; it comes a little after the last line of the log."""
    deadline = time.monotonic() + timeout_s
    while (status := str(client.get_job_status(name).value)) not in ENDED and time.monotonic() < deadline:
        time.sleep(0.2)
    return status


def in_job() -> bool:
    """Whether this process runs in a Ray job: Ray hands a job its configuration by the environment."""
    return environment("RAY_JOB_CONFIG_JSON_ENV_VAR") is not None


def check_storage(storage: str, *, in_job: bool) -> None:
    """Refuse a storage inside a job's unpacked folder, which goes when the cluster goes.

    Args:
        storage: As the loader made it: an address or an absolute path.
        in_job: Whether this process runs in a Ray job.
    """
    if in_job and "://" not in storage and any(part.startswith(UNPACKED) for part in Path(storage).parts):
        raise SpecError(
            f"storage {Path(storage).name!r} is relative; in a Ray job it would vanish with the job's folder",
            hint="set storage to s3://bucket/prefix, or to an absolute path that every node mounts",
        )

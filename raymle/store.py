"""The one home of an experiment: a local folder, or an object store with a local working copy.

    runs/<run>/       record.json spec.json bundle/ report.html plots/ stdout.log
    shards/<id>/      prepared train and validation arrays        sealed/<id>/  test rows
    ledger/NNNNNN.json   one object an opening of the seal        journals/<run>.jsonl

Work happens in ``folder(...)``; ``commit`` makes a finished folder appear whole or not at all, and ``publish``
copies it to the object store with the manifest last. A folder without a valid ``MANIFEST.json`` does not exist.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, final
from urllib.parse import urlparse

from raymle.errors import ArtifactError, ConflictError, SetupError, UsageError

MANIFEST = "MANIFEST.json"


class Store(Protocol):
    """Where everything that outlives a command is kept."""

    uri: str
    root: Path

    def write_new(self, name: str, data: bytes) -> bool:
        """Create an object whole; False when it exists already. Two writers can't both win."""

    def read(self, name: str) -> bytes:
        """Return an object's bytes."""

    def names(self, prefix: str) -> list[str]:
        """Return the names of the objects directly under a prefix, sorted."""

    def publish(self, folder: str) -> None:
        """Make a committed local folder visible to every machine."""

    def fetch(self, folder: str) -> Path:
        """Return a local, verified copy of a published folder."""

    def remove(self, folder: str) -> None:
        """Remove a folder here and where it was published."""


@final
class LocalStore:
    """A folder on this machine, or on a file system that every node mounts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = str(root)

    def write_new(self, name: str, data: bytes) -> bool:
        """Create an object whole; False when it exists already."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".tmp-{uuid.uuid4().hex}")
        write_durably(draft, data)
        try:
            os.link(draft, path)  # unlike rename, fails when the name is taken
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        return True

    def read(self, name: str) -> bytes:
        """Return an object's bytes."""
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            raise ArtifactError(f"{name} is not in the storage {self.uri}") from None

    def names(self, prefix: str) -> list[str]:
        """Return the names of the objects directly under a prefix, sorted."""
        folder = self.root / prefix
        if not folder.is_dir():
            return []
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))

    def publish(self, folder: str) -> None:
        """Do nothing: the folder is already where every reader looks."""

    def fetch(self, folder: str) -> Path:
        """Return the folder after checking its manifest's sizes."""
        verify(self.root / folder, deep=False)
        return self.root / folder

    def remove(self, folder: str) -> None:
        """Remove a folder; gone already is fine."""
        try:
            shutil.rmtree(self.root / folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise SetupError(f"{self.root / folder} cannot be removed: {error.strerror}") from error


@final
class ObjectStore:
    """``s3://bucket/prefix`` with a working copy on this machine."""

    def __init__(self, uri: str, client: Any, cache: Path) -> None:
        parts = urlparse(uri)
        self.uri = uri.rstrip("/")
        self.root = cache
        self._client = client
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/")

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}".lstrip("/")

    def write_new(self, name: str, data: bytes) -> bool:
        """Create an object by a conditional PUT; False when it exists already."""
        from botocore.exceptions import ClientError

        try:
            self._client.put_object(Bucket=self._bucket, Key=self._key(name), Body=data, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict"}:
                return False
            raise SetupError(f"cannot write {name} to {self.uri}: {error}") from error
        return True

    def read(self, name: str) -> bytes:
        """Return an object's bytes."""
        from botocore.exceptions import ClientError

        try:
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"].read()
        except ClientError as error:
            raise ArtifactError(f"{name} is not in the storage {self.uri}: {error}") from error
        return body

    def names(self, prefix: str) -> list[str]:
        """Return the names of the objects directly under a prefix, sorted."""
        base = self._key(prefix).rstrip("/") + "/"
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=base, Delimiter="/")
        found: set[str] = set()
        for page in pages:
            found.update(item["Key"][len(base) :] for item in page.get("Contents", []))
            found.update(item["Prefix"][len(base) :].rstrip("/") for item in page.get("CommonPrefixes", []))
        return sorted(found)

    def publish(self, folder: str) -> None:
        """Upload a committed folder, its manifest last: until then nobody sees it."""
        source = self.root / folder
        files = [path for path in sorted(source.rglob("*")) if path.is_file() and path.name != MANIFEST]
        for path in [*files, source / MANIFEST]:
            self._client.upload_file(str(path), self._bucket, self._key(f"{folder}/{path.relative_to(source)}"))

    def fetch(self, folder: str) -> Path:
        """Download a published folder unless a whole copy is here, and verify its checksums."""
        target = self.root / folder
        if not (target / MANIFEST).exists():
            draft = draft_folder(self.root)
            manifest = json.loads(self.read(f"{folder}/{MANIFEST}"))
            for name in [*manifest["files"], MANIFEST]:
                path = draft / name
                path.parent.mkdir(parents=True, exist_ok=True)
                self._client.download_file(self._bucket, self._key(f"{folder}/{name}"), str(path))
            verify(draft, deep=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.rename(target)
        verify(target, deep=False)
        return target

    def remove(self, folder: str) -> None:
        """Remove a folder here and in the bucket."""
        shutil.rmtree(self.root / folder, ignore_errors=True)
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._key(folder).rstrip("/") + "/"
        )
        for page in pages:
            for item in page.get("Contents", []):
                self._client.delete_object(Bucket=self._bucket, Key=item["Key"])


def open_store(uri: str, *, cache: Path | None = None) -> Store:
    """Open a storage by its folder or ``s3://`` address; a folder is made when it is not there."""
    if "://" not in uri:
        root = Path(uri).resolve()
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"storage {uri} cannot be a folder: {error.strerror}", hint="name another") from error
        return LocalStore(root)
    if not uri.startswith("s3://"):
        raise UsageError(f"storage {uri!r} is not a folder or an s3:// address")
    import boto3
    from botocore.config import Config

    retries: Any = {"mode": "standard", "max_attempts": 10}
    client = boto3.client("s3", config=Config(retries=retries, connect_timeout=5, read_timeout=60))
    place = hashlib.sha256(uri.rstrip("/").encode()).hexdigest()[:16]
    return ObjectStore(uri, client, (cache or Path.home() / ".cache" / "raymle") / place)


def write_durably(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def draft_folder(root: Path) -> Path:
    """Make an empty temporary folder beside what will be committed."""
    folder = root / f".tmp-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    return folder


def commit(draft: Path, target: Path) -> Path:
    """Write the manifest of a finished draft and move it into place in one step.

    Raises:
        ConflictError: the target is there already.
    """
    files = {str(path.relative_to(draft)): digest(path) for path in sorted(draft.rglob("*")) if path.is_file()}
    write_durably(draft / MANIFEST, json.dumps({"format": 1, "files": files}, indent=1).encode())
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        draft.rename(target)
    except OSError:
        if not target.exists():
            raise
        shutil.rmtree(draft)
        raise ConflictError(f"{target.name} is there already") from None
    return target


def digest(path: Path) -> dict[str, Any]:
    """Return a file's size in bytes and sha256."""
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def verify(folder: Path, *, deep: bool) -> None:
    """Raise ArtifactError unless every file of the manifest is there with its size, and its sha256 if deep."""
    try:
        files: dict[str, Any] = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError):
        raise ArtifactError(f"{folder} is not whole: it has no valid {MANIFEST}") from None
    for name, expected in files.items():
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise ArtifactError(f"{folder} is damaged: {name} is missing")
        if path.stat().st_size != expected["size"] or (deep and digest(path) != expected):
            raise ArtifactError(f"{folder} is damaged: {name} is not what its manifest says")


@contextmanager
def lock(store: Store, name: str, *, timeout_s: float = 30) -> Iterator[None]:
    """Hold a named lock among raymle processes that share this machine's storage."""
    from filelock import FileLock, Timeout

    folder = store.root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / f"{name}.lock", timeout=timeout_s):
            yield
    except Timeout:
        raise ConflictError(f"another raymle process holds {name} since {timeout_s:.0f} s") from None

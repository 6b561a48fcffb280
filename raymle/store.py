"""The one home of an experiment: a local folder, or an object store with a local working copy.

    runs/<run>/       record.json spec.json bundle/ report.html plots/ stdout.log
    shards/<id>/      prepared train and validation arrays        sealed/<id>/  test rows
    ledger/NNNNNN.json   one object an opening of the seal        journals/<run>.jsonl

Work happens in ``folder(...)``; ``commit`` makes a finished folder appear whole or not at all, and ``publish``
copies it to the object store with the manifest last. A folder without a valid ``MANIFEST.json`` does not exist.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, final
from urllib.parse import urlparse

from raymle.errors import ArtifactError, ConflictError, SetupError, UsageError
from raymle.folders import MANIFEST as MANIFEST
from raymle.folders import commit as commit
from raymle.folders import digest as digest
from raymle.folders import draft_folder as draft_folder
from raymle.folders import listed as listed
from raymle.folders import verify as verify
from raymle.folders import write_durably as write_durably

S3_HINT = "check the bucket, the credentials, AWS_REGION and AWS_ENDPOINT_URL in the environment"


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
        """Create an object by a conditional PUT; False when another one exists already.

        An answer that was lost is asked for again, and the object is found there: if it is ours, it was created.
        """
        with self._explained(f"write {name} to"):
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._key(name), Body=data, IfNoneMatch="*")
            except self._client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in {"PreconditionFailed", "ConditionalRequestConflict"}:
                    raise
                return self.read(name) == data
        return True

    def read(self, name: str) -> bytes:
        """Return an object's bytes."""
        with self._explained(f"read {name} from", absent=f"{name} is not in the storage {self.uri}"):
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"].read()
        return body

    def names(self, prefix: str) -> list[str]:
        """Return the names of the objects directly under a prefix, sorted."""
        base = self._key(prefix).rstrip("/") + "/"
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=base, Delimiter="/")
        found: set[str] = set()
        with self._explained(f"list {prefix} in"):
            for page in pages:
                found.update(item["Key"][len(base) :] for item in page.get("Contents", []))
                found.update(item["Prefix"][len(base) :].rstrip("/") for item in page.get("CommonPrefixes", []))
        return sorted(found - {""})  # others mark folders by empty objects

    def publish(self, folder: str) -> None:
        """Upload a committed folder, its manifest last: until then nobody sees it."""
        source = self.root / folder
        files = [path for path in sorted(source.rglob("*")) if path.is_file() and path.name != MANIFEST]
        manifest = [source / MANIFEST] if (source / MANIFEST).exists() else []
        with self._explained(f"write {folder} to"):
            for path in [*files, *manifest]:
                self._client.upload_file(str(path), self._bucket, self._key(f"{folder}/{path.relative_to(source)}"))

    def fetch(self, folder: str) -> Path:
        """Download a published folder unless a whole copy is here, and verify its checksums."""
        target = self.root / folder
        if not (target / MANIFEST).exists():
            draft = draft_folder(self.root)
            try:
                self._download(folder, [MANIFEST], draft)
                self._download(folder, [*listed(draft)], draft)
                verify(draft, deep=True)
                target.parent.mkdir(parents=True, exist_ok=True)
                with suppress(OSError):  # another process was first; whose copy it is does not matter
                    draft.rename(target)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        verify(target, deep=False)
        return target

    def _download(self, folder: str, names: list[str], draft: Path) -> None:
        with self._explained(f"read {folder} from", absent=f"{folder} is not whole in the storage {self.uri}"):
            for name in names:
                path = draft / name
                path.parent.mkdir(parents=True, exist_ok=True)
                self._client.download_file(self._bucket, self._key(f"{folder}/{name}"), str(path))

    def remove(self, folder: str) -> None:
        """Remove a folder here and in the bucket."""
        shutil.rmtree(self.root / folder, ignore_errors=True)
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._key(folder).rstrip("/") + "/"
        )
        with self._explained(f"remove {folder} from"):
            for page in pages:
                for item in page.get("Contents", []):
                    self._client.delete_object(Bucket=self._bucket, Key=item["Key"])

    @contextmanager
    def _explained(self, doing: str, *, absent: str = "") -> Iterator[None]:
        """Turn what S3 says into one sentence; only an object that is not there is absent."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if absent and code in {"404", "NoSuchKey"}:
                raise ArtifactError(absent) from error
            raise SetupError(f"cannot {doing} {self.uri}: {code}", hint=S3_HINT) from error
        except (BotoCoreError, Boto3Error) as error:
            raise SetupError(f"cannot {doing} {self.uri}: {error}", hint=S3_HINT) from error


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
    return ObjectStore(uri, client, (cache or user_cache()) / place)


def user_cache() -> Path:
    """Return the folder for what can be made or fetched again, and belongs to no storage on this machine."""
    return Path.home() / ".cache" / "raymle"


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

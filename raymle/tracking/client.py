"""Where MLflow is, and a client for it that fails within seconds instead of minutes."""

import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from raymle.config import TrackingConfig
from raymle.errors import SetupError, UsageError
from raymle.loader import environment

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from raymle.store import Store

SQLITE = "sqlite:///"
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")


def address(config: TrackingConfig, store: "Store") -> str:
    """Return MLflow's address: the spec's, the environment's, or SQLite in the storage."""
    uri = config.uri or environment("MLFLOW_TRACKING_URI") or f"{SQLITE}{store.root / 'mlflow.db'}"
    if uri.split(":", 1)[0].split("+", 1)[0] not in SCHEMES:
        raise UsageError(
            f"tracking.uri {redacted(uri)!r} is not an address that MLflow records at",
            hint="use http(s)://host:port, postgresql://... or sqlite:///file; plain folders are retired",
        )
    # SQLAlchemy would look for psycopg; the extra "postgres" installs psycopg2
    return uri.replace("postgresql://", "postgresql+psycopg2://", 1)


def artifacts(uri: str, store: "Store") -> str | None:
    """Return where artifacts go; None when a server decides."""
    if is_server(uri):
        return None
    return f"{store.uri}/artifacts" if "://" in store.uri else (store.root / "artifacts").as_uri()


def is_server(uri: str) -> bool:
    """Whether the address is a tracking server and not a database."""
    return uri.startswith(("http://", "https://"))


def redacted(uri: str) -> str:
    """Return the address without a password."""
    parts = urlsplit(uri)
    if not parts.password:
        return uri
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rsplit('@', 1)[1]}"))


def digest(uri: str) -> str:
    """Return a short name of an address that gives no secret away."""
    return hashlib.sha256(uri.encode()).hexdigest()[:16]


def connect(uri: str, *, retries: int = 2) -> "MlflowClient":
    """Import MLflow, about 1.5 s, and return a client; a fresh SQLite file gets its tables first."""
    from mlflow import MlflowClient, environment_variables

    environment_variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(retries)  # type: ignore[no-untyped-call]
    environment_variables.MLFLOW_HTTP_REQUEST_TIMEOUT.set(10)  # type: ignore[no-untyped-call]
    environment_variables.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)  # type: ignore[no-untyped-call]
    environment_variables.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)  # type: ignore[no-untyped-call]
    environment_variables.MLFLOW_ALLOW_PICKLE_DESERIALIZATION.set(False)  # type: ignore[no-untyped-call]
    if uri.startswith(SQLITE):
        create_tables(Path(uri.removeprefix(SQLITE)))
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def reachable(uri: str) -> Iterator[None]:
    """Turn MLflow's failures inside the block into one sentence."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        raise SetupError(
            f"MLflow at {redacted(uri)} failed: {brief(error)}",
            hint="check tracking.uri, MLFLOW_TRACKING_URI and the server",
        ) from error


def brief(error: BaseException) -> str:
    """Return the first line of an error, short enough for a terminal."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


def create_tables(database: Path) -> None:
    """Give a fresh SQLite file MLflow's tables: a copy of a migrated one, or 1.7 s of migrations."""
    import mlflow
    from filelock import FileLock

    if database.exists() and database.stat().st_size:
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    template = Path.home() / ".cache" / "raymle" / f"mlflow-{mlflow.__version__}.db"
    with FileLock(database.with_name(f".{database.name}.lock")):
        if database.exists() and database.stat().st_size:
            return
        draft = database.with_name(f".{uuid.uuid4().hex}.db")
        if template.exists():
            shutil.copyfile(template, draft)
        else:
            _migrate(draft)
            _keep(draft, template)
        draft.rename(database)


def _migrate(database: Path) -> None:
    """Run every migration; the write-ahead log lets `raymle ui` read while a run writes."""
    import sqlite3

    import sqlalchemy
    from mlflow.store.db.utils import _initialize_tables

    for name in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    engine = sqlalchemy.create_engine(f"{SQLITE}{database}")
    _initialize_tables(engine)  # type: ignore[no-untyped-call]
    engine.dispose()
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _keep(database: Path, template: Path) -> None:
    try:
        template.parent.mkdir(parents=True, exist_ok=True)
        draft = template.with_name(f".{uuid.uuid4().hex}")
        shutil.copyfile(database, draft)
        os.replace(draft, template)  # noqa: PTH105
    except OSError:
        return  # a home that cannot be written to only costs the next storage its migration

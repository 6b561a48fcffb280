"""What a run tells: a protocol with a journal behind it, and one with a list behind it for tests."""

import getpass
import math
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, final

from raymle.config import TrackingConfig
from raymle.records import Status
from raymle.tracking import client, sender, sent, system
from raymle.tracking.journal import Event, Journal, is_abandoned, read

if TYPE_CHECKING:
    from raymle.store import Store

NOTE = "mlflow.note.content"
Kind = Literal["run", "study", "trial"]


class Run(Protocol):
    """What a stage may tell about itself. No call waits for a server."""

    id: str

    def params(self, values: Mapping[str, Any]) -> None:
        """Record settings; a name keeps its first value."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Record facts; a name keeps its last value."""

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Record measurements of a step."""

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Record a file, or a folder with all in it."""

    def dataset(self, *, name: str, digest: str, source: str, context: str, rows: int) -> None:
        """Record which data were used for what."""

    def model(self, bundle: Path, *, name: str, signature: Mapping[str, Any]) -> None:
        """Record a bundle as a logged model."""

    def describe(self, card: str) -> None:
        """Set the Markdown that a reviewer reads first."""

    def finish(self, status: Status) -> None:
        """End the run."""


@final
class MemoryRun:
    """Keeps what it is told, for tests and for looking."""

    def __init__(self, run_id: str | None = None) -> None:
        self.id = run_id or new_id()
        self.events: list[Event] = []

    def params(self, values: Mapping[str, Any]) -> None:
        """Record settings."""
        self._add("params", values={name: str(value) for name, value in values.items()})

    def tags(self, values: Mapping[str, str]) -> None:
        """Record facts."""
        self._add("tags", values={name: str(value) for name, value in values.items()})

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Record measurements of a step."""
        self._add("metrics", values={name: float(value) for name, value in values.items()}, step=step)

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Record a file or a folder."""
        self._add("artifact", path=str(path), folder=folder)

    def dataset(self, *, name: str, digest: str, source: str, context: str, rows: int) -> None:
        """Record which data were used for what."""
        self._add("dataset", name=name, digest=digest, source=source, context=context, rows=rows)

    def model(self, bundle: Path, *, name: str, signature: Mapping[str, Any]) -> None:
        """Record a bundle."""
        self._add("model", path=str(bundle), name=name, signature=dict(signature))

    def describe(self, card: str) -> None:
        """Set the description."""
        self.tags({NOTE: card})

    def finish(self, status: Status) -> None:
        """End the run."""
        self._add("finish", status=status)

    def _add(self, what: str, **facts: Any) -> None:
        self.events.append({"do": what, **facts})


@final
class JournalRun:
    """Writes a journal; a process of its own, when it has one, sends it on to MLflow."""

    def __init__(self, journal: Journal, root: Path, *, sender: sender.Sender | None, watched: bool) -> None:
        self.id = journal.path.stem
        self._journal = journal
        self._root = root
        self._sender = sender
        self._watch = system.Watch(self.metrics) if watched else None
        self._open = True

    def params(self, values: Mapping[str, Any]) -> None:
        """Record settings."""
        self._values("params", {name: _text(value, 6000) for name, value in values.items()}, most=100)

    def tags(self, values: Mapping[str, str]) -> None:
        """Record facts."""
        self._values("tags", {name: _text(value, 5000) for name, value in values.items()}, most=100)

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Record measurements of a step."""
        self._values("metrics", {name: float(value) for name, value in values.items()}, most=500, step=step)

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Record a file or a folder; one outside the storage is copied, for it may be sent much later."""
        self._add("artifact", path=self._kept(path), folder=folder)

    def dataset(self, *, name: str, digest: str, source: str, context: str, rows: int) -> None:
        """Record which data were used for what."""
        self._add("dataset", name=name, digest=digest, source=source, context=context, rows=rows)

    def model(self, bundle: Path, *, name: str, signature: Mapping[str, Any]) -> None:
        """Record a bundle as a logged model."""
        self._add("model", path=self._kept(bundle), name=name, signature=dict(signature))

    def describe(self, card: str) -> None:
        """Set the Markdown that a reviewer reads first."""
        self.tags({NOTE: card})

    def finish(self, status: Status, *, again: bool = False) -> None:
        """End the run, and wait a bounded time until MLflow has it; a second call does nothing."""
        if not self._open:
            return
        self._open = False
        if self._watch:
            self._watch.close()
        self._add("finish", status=status, **({"again": True} if again else {}))
        self._journal.close()
        reason = self._sender.close() if self._sender else ""
        if reason:
            text = f"run {self.id} is saved locally; sent with the next raymle command ({reason})"
            print(text, file=sys.stderr)  # noqa: T201

    def _values(self, what: str, values: Mapping[str, Any], *, most: int, **facts: Any) -> None:
        items = [(_name(name), value) for name, value in values.items()]
        for start in range(0, len(items), most):
            self._add(what, values=dict(items[start : start + most]), **facts)

    def _add(self, what: str, **facts: Any) -> None:
        self._journal.append({"do": what, "at": _now_ms(), **facts})

    def _kept(self, path: Path) -> str:
        path = path.resolve()
        if not path.is_relative_to(self._root):
            kept = self._journal.path.with_suffix(".files") / secrets.token_hex(4) / path.name
            kept.parent.mkdir(parents=True)
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, kept)
            path = kept
        return str(path.relative_to(self._root))


def start(
    config: TrackingConfig,
    store: "Store",
    *,
    experiment: str,
    name: str = "",
    kind: Kind = "run",
    parent: str | None = None,
    run_id: str | None = None,
) -> JournalRun:
    """Open a run, in milliseconds: MLflow is imported and told by another process.

    Args:
        config: Where MLflow is.
        store: Where the journal is.
        experiment: MLflow's experiment unless the config names one.
        name: What a person calls the run.
        kind: A trial has no sender of its own: its study's sends it.
        parent: The study's id, for a trial.
        run_id: An earlier run to add to.
    """
    uri = client.address(config, store)
    run_id = run_id or new_id()
    journal = Journal(sent.journals(store.root) / f"{run_id}.jsonl")
    fresh = not journal.path.stat().st_size
    if fresh:
        about = {"experiment": config.experiment or experiment, "name": name, "kind": kind, "parent": parent}
        journal.append({"do": "start", "at": _now_ms(), "id": run_id, "user": _user(), **about})
    sends = sender.launch(store, uri, run_id) if parent is None else None
    return JournalRun(journal, store.root, sender=sends, watched=fresh and parent is None)


def recorded_steps(store: "Store", run_id: str, metric: str = "validation_loss") -> set[int]:
    """Return the steps of which a run's journal has a metric; none when the journal is on another machine."""
    path = sent.journals(store.root) / f"{run_id}.jsonl"
    if not path.exists():
        return set()
    events = (entry.event for entry in read(path))
    return {event["step"] for event in events if event["do"] == "metrics" and metric in event["values"]}


def send_pending(config: TrackingConfig, store: "Store") -> int:
    """Send what earlier runs left behind; nothing is sent twice. Returns how many runs were sent.

    Raises:
        SetupError: MLflow does not take it.
    """
    uri = client.address(config, store)
    waiting = [path for path in sent.unsent(store.root, uri) if is_abandoned(path)]
    if not waiting:
        return 0
    sender.flush(store, uri)
    return len(waiting)


def new_id() -> str:
    """Return a fresh run id: sorts by time, and exists before MLflow knows of it."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container's user id without a name


def _name(name: str) -> str:
    """MLflow takes letters, digits and ``_ - . / :`` and space, at most 250."""
    return "".join(char if char.isalnum() or char in "_-. /:" else "_" for char in name)[:250]


def _text(value: Any, most: int) -> str:
    text = str(value)
    return text if len(text) <= most else text[: math.floor(most) - 1] + "…"

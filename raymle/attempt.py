"""One attempt at a run: timed, recorded whatever ends it, made once for a key; one that fails early leaves nothing.

Another attempt, under the same id, goes on with a run that was stopped: see ``resume``.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from raymle import tracking
from raymle.config import Spec
from raymle.config.amount import left_open, settled_spec
from raymle.config.differences import first_difference
from raymle.errors import ConflictError, RaymleError, SetupError
from raymle.records import Splits, Status, Trained
from raymle.runtime import Execution
from raymle.store import Store, lock, open_store
from raymle.tracking import keys, shelf

Kind = Literal["run", "study"]
LEFTOVERS = {"memo", "locks", "shards", "sealed"}
"""What an attempt that fails before its run begins leaves in its storage."""


@dataclass
class Clock:
    """Seconds since the start and of each lap; monotonic, so a clock change cannot make one negative."""

    started: float = field(default_factory=time.monotonic)
    laps: dict[str, float] = field(default_factory=dict)

    def lap(self, name: str) -> None:
        """Give the time since the last lap a name."""
        self.laps[name] = round(time.monotonic() - self.started - sum(self.laps.values()), 3)

    def seconds(self) -> dict[str, float]:
        """Return every lap and the total."""
        return {**self.laps, "total": round(time.monotonic() - self.started, 3)}


@contextmanager
def untouched(storage: str) -> Iterator[Store]:
    """Open a storage for the block; one that was not there before goes again when the block fails at its data."""
    was_there = "://" in storage or Path(storage).exists()
    store = open_store(storage)
    if "://" not in storage and not os.access(store.root, os.W_OK):
        raise SetupError(f"storage {storage} cannot be written to", hint="change its permissions, or name another")
    try:
        yield store
    except RaymleError:
        if not was_there and not store.names("runs"):
            _sweep(store.root)
        raise


def _claim(store: Store, key: str | None, run_id: str) -> None:
    if key and not keys.claim(store, key, run_id):
        raise ConflictError(f"another run works under key {key!r}", hint="wait for it, or use another key")


def _sweep(root: Path) -> None:
    """Remove a storage that holds nothing yet, unless another process has begun to work in it."""
    from filelock import FileLock, Timeout

    if {path.name for path in root.iterdir()} <= LEFTOVERS:
        try:
            with ExitStack() as locks:
                for path in root.glob("locks/*.lock"):
                    locks.enter_context(FileLock(path, timeout=0))
                shutil.rmtree(root, ignore_errors=True)
        except Timeout:
            return


@contextmanager
def once(store: Store, key: str | None, spec: Spec, kind: Kind) -> Iterator[Trained | None]:
    """Yield what an earlier call with the same key made, and let only one process at a time make it.

    Raises:
        ConflictError: another experiment or verb has used the key.
    """
    if key is None:
        yield None
        return
    with lock(store, f"key-{hashlib.sha256(key.encode()).hexdigest()[:16]}"):
        made = keys.run_of(store, key)
        earlier = shelf.load(store, made) if made else None
        if earlier and (differing := _other_job(store, earlier, spec, kind)):
            raise ConflictError(
                f"key {key!r} belongs to run {made}: {differing}", hint="use another key for another job"
            )
        yield earlier


def _other_job(store: Store, earlier: Trained, spec: Spec, kind: Kind) -> str:
    """Say how an earlier call with the same key asked for something else; empty when it did not."""
    if (earlier.name, earlier.study is not None) != (spec.name, kind == "study"):
        return f"a {'study' if earlier.study else 'run'} of {earlier.name!r}"
    there = shelf.load_spec(store, earlier.run_id)
    if kind == "study":
        free = (*(spec.tune.space if spec.tune else ()), *left_open(spec.train, there.train))
        return first_difference(there, spec, but_for=free)
    return first_difference(there, settled_spec(spec, earlier.rows["train"]))


@contextmanager
def recorded(
    spec: Spec,
    store: Store,
    splits: Splits,
    *,
    kind: Kind,
    key: str | None,
    execution: Execution,
    clock: Clock,
    resumed: str | None = None,
    take_over: bool = False,
) -> Iterator[tracking.Run]:
    """Open a tracked run for the block; whatever ends the block ends the run with the right status.

    ``resumed`` is the id of an earlier run that goes on, ``take_over`` whether the machine that had it is gone.
    """
    run_id = resumed or tracking.new_id()
    shelf.hold(store, run_id, spec, splits, kind=kind, take_over=take_over)
    run = tracking.start(
        spec.tracking, store, experiment=spec.tracking.experiment or spec.name, name=spec.name, kind=kind,
        run_id=run_id,
    )  # fmt: skip
    with tracking.tee_stdout(store.root / "runs" / run.id / "stdout.log"):
        try:
            _claim(store, key, run.id)
            if resumed:
                for left in ("bundle", "last-good"):  # the attempt before may have been stopped after it
                    store.remove(f"runs/{run.id}/{left}")
            if not tracking.is_described(store, run.id):
                tracking.describe_inputs(run, spec, splits, store)
            yield run
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            status: Status = "killed" if stopped else "failed"
            reason = "it was stopped" if stopped else str(error) or type(error).__name__
            with suppress(RaymleError, OSError):  # a full disk is told of, and must not hide why
                shelf.save_failed(
                    store, run.id, spec, splits, status=status, reason=reason,
                    execution=execution.kind, seconds=clock.seconds(),
                )  # fmt: skip
                if key and keys.holder(store, key) == run.id:
                    keys.release(store, key)
            run.tags({"raymle.reason": reason[:4000]})
            run.finish(status)
            raise
    run.finish("finished")

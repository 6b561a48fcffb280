"""What ended a group of workers: the user's code, a worker that is stuck, or one that is gone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from raymle.errors import RaymleError, WorkError
from raymle.train.checkpoint import Position
from raymle.train.world import PeerLostError

RESTARTS = 3
"""Times in a row that a group starts again without a new checkpoint in between."""
TRAINS = "raymle/train/backends/group.py"
"""A file that only the thread that trains is in."""
WAITING = ("all_reduce", "all_gather", "broadcast", "allreduce", "allgather", "synchronize")
"""Functions in which a worker waits for the others."""
ENDS = ("WorkerHealthCheckFailedError", "WorkerHealthCheckTimeoutError")
"""What Ray Train calls a process that is gone, or does not answer; the classes are private."""


@final
class WorkerLostError(WorkError):
    """A worker's process is gone: what it did can be done again from the last checkpoint."""


def failure(error: BaseException) -> RaymleError:
    """Return what ended a group: a worker's own error first, for the others only suffer from it."""
    failed: Mapping[int, BaseException] = getattr(error, "worker_failures", {})
    causes = {rank: _cause(each) for rank, each in sorted(failed.items())}
    gone = [rank for rank, each in failed.items() if type(each).__name__ in ENDS]
    for rank, cause in causes.items():
        suffers = isinstance(cause, PeerLostError) or (gone and not isinstance(cause, RaymleError))
        if rank in gone or suffers:
            continue
        if isinstance(cause, RaymleError):
            return cause
        return WorkError(f"training worker {rank} failed: {type(cause).__name__}: {_last(cause)}")
    if gone:
        return WorkerLostError(f"training worker {gone[0]} is gone: {_death(causes[gone[0]])}")
    if causes:
        return WorkerLostError("a training worker is gone: the others do not hear from it any more")
    return WorkError(f"training failed: {type(error).__name__}: {error}")


def stuck(folder: Path, timeout_s: float) -> WorkError | None:
    """Read the stacks that workers have left, and name the ones that were not waiting for another."""
    stacks = {path.stem: path.read_text() for path in sorted(folder.glob("worker-*.txt"))}
    written = {name: text for name, text in stacks.items() if text}
    if not written:
        return None
    guilty = [name for name, text in written.items() if not is_waiting(text)] or list(written)
    where = innermost(written[guilty[0]])
    return WorkError(
        f"{', '.join(guilty).replace('-', ' ')} made no step in {timeout_s:g} s: it is in {where}; "
        f"the stacks of all {len(written)} workers are in {folder}",
        hint="mend what hangs, or raise train.step_timeout; --resume goes on from the last checkpoint",
    )


def is_waiting(stacks: str) -> bool:
    """Whether one of a process's threads waits for other workers."""
    return any(f" in {name}\n" in stacks for name in WAITING)


def innermost(stacks: str, trains: str = TRAINS) -> str:
    """Return where the thread that trains is, the one in that file: function, file and line."""
    threads = stacks.split("\n\n")
    training = next((each for each in threads if trains in each), threads[0])
    lines = [line.strip() for line in training.splitlines() if line.strip().startswith("File ")]
    return lines[0].removeprefix("File ") if lines else "native code"


@final
@dataclass
class Restarts:
    """Counts how often in a row a group was lost without a new checkpoint."""

    position: Position | None = None
    count: int = 0

    def again(self, newest: Position | None) -> bool:
        """Whether the group shall start again from its newest checkpoint."""
        self.count = 1 if newest != self.position else self.count + 1
        self.position = newest
        return self.count <= RESTARTS


def _cause(error: BaseException) -> BaseException:
    inner = ("_base_exc", "cause", "__cause__", "health_check_failure")
    return next((found for name in inner if (found := getattr(error, name, None)) is not None), error)


def _death(error: BaseException) -> str:
    """Say in a few words what Ray says in a page."""
    name = type(error).__name__
    return {
        "OutOfMemoryError": "its machine was out of memory",
        "NodeDiedError": "its machine is gone",
        "WorkerHealthCheckTimeoutError": "it does not answer",
    }.get(name, f"its process has died ({name})")


def _last(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]

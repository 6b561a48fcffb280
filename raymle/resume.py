"""How a run ends in its middle, and how it goes on: one run, with no step missing and none twice."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from raymle import tracking, train
from raymle.config import Spec, amount
from raymle.config.differences import first_difference
from raymle.errors import ConflictError, SecurityError
from raymle.model import PICKLES
from raymle.records import Splits
from raymle.store import Store
from raymle.tracking import shelf, studies
from raymle.train import stop

FREE = ("cluster", "promote", "tune", "train.workers", "train.resources", "train.step_timeout")
"""What may differ when a run goes on: it decides where and how fast, not which weights."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def unfinished(store: Store, ref: str, spec: Spec, *, take_over: bool = False) -> str:
    """Find the run that shall go on; return its id.

    Args:
        store: Where it is.
        ref: Its id, the start of one, or ``last``.
        spec: What it shall go on with.
        take_over: Whether the machine that worked on it is known to be gone.

    Raises:
        ArtifactError: there is none.
        ConflictError: it is over, goes on already, or was started with other settings.
        SecurityError: a file is named that would have to be unpickled.
    """
    if Path(ref).suffix in PICKLES:
        raise SecurityError(
            f"{ref} is a pickle: loading it could run any code, so it is never done",
            hint="--resume takes the id of a run, whose checkpoints are safetensors",
        )
    found = shelf.unfinished(store, ref, take_over=take_over)
    _same_settings(store, found.run_id, spec, but_for=FREE)
    return found.run_id


def study(store: Store, ref: str, spec: Spec, *, take_over: bool = False) -> str:
    """Find the study that shall go on; return its id.

    Args:
        store: Where it is.
        ref: Its id, the start of one, or ``last``.
        spec: What it shall go on with; the section ``tune`` may differ.
        take_over: Whether the machine that worked on it is known to be gone.

    Raises:
        ArtifactError: there is none.
        ConflictError: another process works on it, or it was started with other settings.
    """
    study_id = studies.find(store, ref)
    shelf.require_free(store, study_id, take_over=take_over)
    _same_settings(store, study_id, spec, but_for=(*FREE, "evaluate.limits"))
    return study_id


def _same_settings(store: Store, run_id: str, spec: Spec, *, but_for: tuple[str, ...]) -> None:
    """Refuse to go on with other settings; those that follow the rows stay what they were."""
    begun = shelf.load_spec(store, run_id)
    free = (*but_for, *amount.left_open(spec.train, begun.train))
    if differing := first_difference(begun, spec, but_for=free):
        raise ConflictError(
            f"{run_id} was started with other settings: {differing}",
            hint="put them back, or begin anew without --resume",
        )


def as_begun(store: Store, run_id: str, spec: Spec) -> Spec:
    """Return a spec with the numbers that a run or a study began with, where it leaves them to the rows."""
    made = amount.as_begun(spec, shelf.load_spec(store, run_id))
    now_open = amount.left_open(made.train)
    if kept := [path for path in amount.left_open(spec.train) if path not in now_open]:
        numbers = " ".join(f"{path}={attrgetter(path)(made)}" for path in kept)
        train.say(f"{run_id} goes on with {numbers}, as it began")
    return made


def same_data(store: Store, run_id: str, splits: Splits) -> None:
    """Make sure that a run or a study goes on with the data that it began with.

    Raises:
        ConflictError: they have changed.
    """
    began = shelf.splits_of(store, run_id)
    if began != splits.id:
        raise ConflictError(
            f"the data have changed since run {run_id} began: {began} then, {splits.id} now",
            hint="bring them back, or begin anew without --resume",
        )


def prepare(store: Store, run_id: str, splits: Splits, folder: str) -> set[int]:
    """Make a stopped run ready to go on, say from where, and return the epochs that are recorded already.

    Raises:
        ConflictError: its data have changed.
        ArtifactError: it has checkpoints, and all of them are damaged.
    """
    same_data(store, run_id, splits)
    stop.forget(store, run_id)
    if tracking.has_changed(store, run_id, folder):
        train.say(f"the code in {folder} has changed since run {run_id} began: what is recorded is the code of then")
    train.say(f"run {run_id} goes on from {position(store, run_id)}")
    return recorded(store, run_id)


@contextmanager
def own_signals() -> Iterator[None]:
    """Whatever becomes of the answers to Ctrl-C and SIGTERM in the block, they are as before after it."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def stopping(store: Store, run_id: str, *, keeps: bool) -> Iterator[None]:
    """Answer the first Ctrl-C or SIGTERM of the block by a checkpoint; the second ends the process at once.

    In an interactive session the second interrupts, as it always does.

    Args:
        store: Where the run is told to stop.
        run_id: The run.
        keeps: Whether its training leaves checkpoints; else the first signal ends it.

    Raises:
        KeyboardInterrupt: with the exit code, when the run has stopped.
    """
    if not keeps or threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        _answer(signal.default_int_handler if _is_interactive() else _leave)
        threading.Thread(target=stop.ask, args=(store, run_id), daemon=True).start()  # a storage may take its time
        train.say("stopping with a checkpoint; once more stops at once")

    with own_signals():
        _answer(ask)
        try:
            yield
        except KeyboardInterrupt:
            if not asked:
                raise
    if asked:
        train.say(f"stopped; the same command with --resume {run_id} goes on from {position(store, run_id)}")
        _answer(signal.default_int_handler if _is_interactive() else _leave)  # it may take a while to put Ray away
        raise KeyboardInterrupt(128 + asked[0])


def _answer(handler: Any) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """End the process without unwinding; the Ray that it started ends with it."""
    os._exit(128 + number)


def _is_interactive() -> bool:
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules


def position(store: Store, run_id: str) -> str:
    """Say from where a run goes on, and which newer checkpoints are not whole.

    Raises:
        ArtifactError: it has checkpoints, and every one is damaged.
    """
    from raymle.train import checkpoint

    found = checkpoint.required(store, run_id)
    skipped = f" (skipped: {'; '.join(found.skipped)})" if found.skipped else ""
    return f"{found.position or 'the beginning'}{skipped}"


def recorded(store: Store, run_id: str) -> set[int]:
    """Return the epochs that need not be recorded again: those in the run's journal.

    When another machine has worked on the run, its journal has those before the newest checkpoint.
    """
    from raymle.train import checkpoint

    known = tracking.recorded_steps(store, run_id)
    if not shelf.is_from_elsewhere(store, run_id):
        return known
    newest = checkpoint.required(store, run_id).position
    return known | (set(range(1, newest.epochs + 1)) if newest else set())

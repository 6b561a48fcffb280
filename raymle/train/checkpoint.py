"""Checkpoints by the commit protocol: a folder with a valid manifest, or no checkpoint at all.

runs/<run>/checkpoints/<epochs done>-<steps done after them>/   state.safetensors  state.json  MANIFEST.json

Files go into a draft and are synced, the manifest with their sha256 is written last, and one rename makes the
folder appear. Nothing is pickled.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from raymle.errors import ArtifactError, ResourceError
from raymle.store import Store, commit, draft_folder, verify

KEPT = 2
"""The newest checkpoints that stay: one more than is needed, should the newest be damaged later."""
STATE, FACTS = "state.safetensors", "state.json"


class Position(NamedTuple):
    """How far a training is; positions sort by time, and so do their names."""

    epochs: int
    """Epochs that are done."""
    steps: int
    """Steps that are done of the next one."""

    def __str__(self) -> str:
        return f"epoch {self.epochs + 1}, step {self.steps}" if self.steps else f"epoch {self.epochs}"

    @property
    def name(self) -> str:
        """The folder's name."""
        return f"{self.epochs:06d}-{self.steps:09d}"

    @classmethod
    def of(cls, name: str) -> "Position":
        """Read a folder's name."""
        epochs, _, steps = name.partition("-")
        return cls(int(epochs), int(steps))


@final
@dataclass(frozen=True)
class State:
    """All that the next step depends on."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


class Found(NamedTuple):
    """The newest whole checkpoint, and what was newer but is not whole."""

    position: Position | None
    skipped: tuple[str, ...] = ()


def folder_of(run: str) -> str:
    """Name the folder of a run's checkpoints in its storage."""
    return f"runs/{run}/checkpoints"


def save(store: Store, folder: str, position: Position, state: State) -> None:
    """Make a checkpoint appear whole, then remove all but the newest two.

    Args:
        store: The storage.
        folder: The run's checkpoints in it.
        position: How far the training is.
        state: All that the next step depends on.

    Raises:
        ResourceError: the disk is full; the checkpoint before is as it was.
    """
    name = f"{folder}/{position.name}"
    if (store.root / name).exists():
        store.remove(name)  # one that was damaged, and therefore skipped
    draft = draft_folder(store.root / folder)
    try:
        with _room_for(draft):
            save_file(
                {
                    key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                    for key, value in state.tensors.items()
                },
                draft / STATE,
            )
            (draft / FACTS).write_text(json.dumps(dict(state.facts)))
            commit(draft, store.root / name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    store.publish(name)
    found = positions(store, folder)
    skipped = [newer for newer in found if newer > position]  # damaged, or this training would not be here
    for old in [*skipped, *found[len(skipped) :][KEPT:]]:
        store.remove(f"{folder}/{old.name}")


def newest(store: Store, folder: str) -> Found:
    """Find the newest checkpoint of which every byte is as it was written."""
    skipped: list[str] = []
    for position in positions(store, folder):
        try:
            verify(store.fetch(f"{folder}/{position.name}"), deep=True)
        except ArtifactError as error:
            skipped.append(str(error))
        else:
            return Found(position, tuple(skipped))
    return Found(None, tuple(skipped))


def required(store: Store, run: str) -> Found:
    """Find where a run can go on: from its newest whole checkpoint, or from the beginning when it has none.

    Raises:
        ArtifactError: it has checkpoints, and every one is damaged.
    """
    found = newest(store, folder_of(run))
    if found.position is None and found.skipped:
        raise ArtifactError(
            f"every checkpoint of run {run} is damaged: {'; '.join(found.skipped)}",
            hint="train anew, without --resume",
        )
    return found


def load(store: Store, folder: str, position: Position) -> State:
    """Return a whole checkpoint's state, its tensors on the CPU.

    Raises:
        ArtifactError: it is not there any more, or damaged.
    """
    path = store.fetch(f"{folder}/{position.name}")
    verify(path, deep=True)
    try:
        return State(load_file(path / STATE), json.loads((path / FACTS).read_text()))
    except (OSError, ValueError, SafetensorError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from None


def copy(store: Store, source: str, target: str, wanted: Position) -> Position:
    """Let a run go on from a checkpoint of another one, or from its newest if that is gone; its own are gone then.

    Raises:
        ArtifactError: there is none.
    """
    folder = folder_of(source)
    found = wanted if wanted in positions(store, folder) else newest(store, folder).position
    if found is None:
        raise ArtifactError(f"run {source} has no checkpoint")
    state = load(store, folder, found)
    forget(store, target)
    save(store, folder_of(target), found, state)
    return found


def positions(store: Store, folder: str) -> list[Position]:
    """Return where there are checkpoints, whole or not, newest first."""
    return sorted((Position.of(name) for name in store.names(folder) if _is_position(name)), reverse=True)


def forget(store: Store, run: str) -> None:
    """Remove all checkpoints of a run that is finished."""
    store.remove(folder_of(run))


def clear_drafts(store: Store, folder: str) -> None:
    """Remove what a kill left of half checkpoints; only one process writes a run's."""
    for draft in (store.root / folder).glob(".tmp-*"):
        shutil.rmtree(draft, ignore_errors=True)


def misfits(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Say which tensors of a checkpoint are not those of a network: name and shape, there and here."""
    told = []
    for name in sorted({*expected, *found}):
        there, here = (list(each[name].shape) if name in each else None for each in (found, expected))
        if there != here:
            told.append(f"{name} is {there or 'not'} there and {here or 'not'} here")
    return told


def _is_position(name: str) -> bool:
    epochs, dash, steps = name.partition("-")
    return bool(dash) and epochs.isdigit() and steps.isdigit()


@contextmanager
def _room_for(draft: Path) -> Iterator[None]:
    """Say that the disk is full, whoever finds out."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        free = shutil.disk_usage(draft).free
        raise ResourceError(
            f"a checkpoint cannot be written to {draft.parent}: {error} ({free / 2**20:,.0f} MB are free)",
            hint="make room, then go on with --resume: the checkpoint before this one is whole",
        ) from error

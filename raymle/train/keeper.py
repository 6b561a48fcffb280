"""What outlives the workers of a run: its checkpoints, and the wish that it stops.

The first worker decides for all, and they learn of it when they look at their losses together, about once a second:
no worker can save or stop at a step where another does not.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from raymle.errors import SetupError
from raymle.store import Store, open_store
from raymle.train import checkpoint, stop
from raymle.train.checkpoint import Position, State
from raymle.train.watch import Watch
from raymle.train.world import World

LOOK_S = 1.0
"""Seconds between two looks."""
WARNED_S = 5.0
"""Seconds between two questions whether a machine will be taken away, and whether an object store holds a stop."""
COST = 0.02
"""Most of the time that checkpoints may take."""
FIRST_S = 1.0
"""A training that is shorter leaves no checkpoint."""
MOST_STEPS = 1_000


class Wish(NamedTuple):
    """What the first worker wants of all; it travels with the losses."""

    save: bool
    stop: bool
    ask: bool
    """Whether all shall ask together if a machine will soon be taken away."""
    stride: int
    """Steps until the next look."""

    @classmethod
    def of(cls, values: Tensor) -> "Wish":
        """Read what has travelled."""
        save, stop, ask, stride = values.tolist()
        return cls(save > 0, stop > 0, ask > 0, max(1, int(stride)))


SILENT = torch.zeros(len(Wish._fields))
"""What the other workers add to the first one's wish."""


@final
class Keeper:
    """One worker's view of a run's checkpoints; without a run nothing is kept."""

    def __init__(
        self,
        storage: str = "",
        run: str = "",
        *,
        watch: Watch | None = None,
        warned: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make a keeper.

        Args:
            storage: Where the run's folder is.
            run: The run's id; empty keeps nothing.
            watch: Ends a worker that makes no step any more.
            warned: Tells whether one of the workers' machines will soon be taken away; all workers call it together.
        """
        self._store: Store | None = open_store(storage) if run else None
        self._run = run
        self._watch = watch
        self._warned = warned
        self._was_warned = False
        self._saved = self._looked = self._asked = time.monotonic()
        self._cost, self._stride = 0.0, 1
        self.problem = ""
        """Why the newest checkpoint is only on this machine; empty when it is not so."""

    def start(self, world: World) -> tuple[Position, State] | None:
        """Return the newest whole checkpoint that the first worker finds, on every worker; None when there is none."""
        if self._store is None:
            return None
        folder = checkpoint.folder_of(self._run)
        if world.rank == 0:
            checkpoint.clear_drafts(self._store, folder)
        self.beat()
        found = checkpoint.required(self._store, self._run).position if world.rank == 0 else None
        every = world.gather(np.array([found or (-1, -1)], np.int64))  # an object store may show them different ones
        position = Position(*map(int, every[0]))
        if position.epochs < 0:
            return None
        return position, checkpoint.load(self._store, folder, position)

    def wish(self, world: World, steps: int) -> Tensor:
        """Return this worker's part of what all will do, float32 ``[4]``, after so many steps since the last look."""
        if world.rank > 0:
            return SILENT.to(world.device)
        now = time.monotonic()
        each = max(now - self._looked, 1e-6) / max(1, steps)
        self._looked = now
        self._stride = min(2 * self._stride, MOST_STEPS, max(1, int(LOOK_S / each)))  # steps may become slow
        ask = self._store is not None and now - self._asked > WARNED_S
        stops = self._store is not None and self._is_stopped(ask=ask)
        if ask:
            self._asked = now
        wish = Wish(stops or self._is_due(now), stops, ask, self._stride)
        return torch.tensor(wish, dtype=torch.float32, device=world.device)

    def settle(self, wish: Wish) -> Wish:
        """Add what all workers find out together: a warning is answered by a checkpoint, once."""
        if not wish.ask or self._was_warned or not self._warned():
            return wish
        self._was_warned = True
        return wish._replace(save=True)

    def save(self, world: World, position: Position, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keep a state; every worker calls it, for each has random numbers of its own."""
        states = world.gather(random(world.device).numpy()[None])
        if world.rank > 0 or self._store is None:
            return
        started = time.monotonic()
        state = State({**tensors, "rng": torch.from_numpy(states)}, facts)
        try:
            checkpoint.save(self._store, checkpoint.folder_of(self._run), position, state)
            self.problem = ""
        except SetupError as error:  # an object store that is away does not stop the training
            self.problem = f"checkpoints are only on the worker's machine: {error}"
        self._saved = time.monotonic()
        self._cost = self._saved - started

    def beat(self) -> None:
        """Say that this worker gets on."""
        if self._watch:
            self._watch.beat()

    def close(self) -> None:
        """Stop watching."""
        if self._watch:
            self._watch.close()

    def _is_due(self, now: float) -> bool:
        return self._store is not None and now - self._saved > max(FIRST_S, self._cost / COST)

    def _is_stopped(self, *, ask: bool) -> bool:
        assert self._store is not None
        if "://" in self._store.uri and not ask:  # each question is a request
            return False
        return stop.is_asked(self._store, self._run)


def random(device: torch.device) -> Tensor:
    """Return the state of this worker's random numbers, uint8 ``[n]``."""
    state = torch.get_rng_state()
    return torch.cat([state, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else state


def restore_random(tensors: Mapping[str, Tensor], world: World) -> None:
    """Go on with this worker's random numbers; one more than there were keeps its own."""
    states, here = tensors["rng"], random(world.device)
    if world.rank >= len(states) or states.shape[1] != len(here):  # the group was smaller, or on other devices
        return
    mine = states[world.rank].clone()  # torch takes no view of a larger tensor
    size = len(torch.get_rng_state())
    torch.set_rng_state(mine[:size])
    if world.device.type == "cuda":
        torch.cuda.set_rng_state(mine[size:], world.device)

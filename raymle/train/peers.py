"""The workers that grow the same trees, as one of them sees them."""

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, final

from raymle.errors import WorkError

T = TypeVar("T")


class Peers(Protocol):
    """This worker's place, and the way to the others."""

    rank: int
    size: int
    network: Mapping[str, Any]
    """Where the others are, by LightGBM's parameters."""

    def first(self, value: T) -> T:
        """Return the first worker's value on every worker; all call it together."""


@final
class Alone:
    """A worker without peers."""

    rank = 0
    size = 1
    network: Mapping[str, Any] = {}

    def first(self, value: T) -> T:
        """Return the value."""
        return value


def check_in_step(text: str, peers: Peers) -> None:
    """Prove that every worker has grown the same trees.

    Raises:
        WorkError: this worker has not.
    """
    mine = hashlib.sha256(text.encode()).hexdigest()
    if peers.first(mine) != mine:
        raise WorkError(
            f"worker {peers.rank} of {peers.size} is out of step with worker 0: it has grown other trees",
            hint="its model is not to be trusted; look at that node",
        )

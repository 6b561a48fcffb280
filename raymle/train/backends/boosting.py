"""Workers that grow trees together over LightGBM's own network, which Ray Train gives its addresses.

The network is plain TCP without a password, open while a group trains: for trusted networks only.
"""

from collections.abc import Generator, Mapping
from typing import Any, TypeVar, final

import ray.train
from lightgbm.basic import LightGBMError
from ray.train.collective import broadcast_from_rank_zero
from ray.train.lightgbm import get_network_params

from raymle.records import Epoch
from raymle.train import trees
from raymle.train.task import Task
from raymle.train.world import PeerLostError

T = TypeVar("T")
NETWORK = ("Socket ", "Binding port ")
"""How LightGBM's errors begin when another worker is gone, or this one's port was taken before it could listen."""


@final
class Peers:
    """This worker's view of its group."""

    def __init__(self) -> None:
        context = ray.train.get_context()
        self.rank: int = context.get_world_rank()
        self.size: int = context.get_world_size()
        self.network: Mapping[str, Any] = get_network_params()

    def first(self, value: T) -> T:
        """Return the first worker's value on every worker; at most 1 kB."""
        told: T = broadcast_from_rank_zero(value)
        return told


def epochs(task: Task) -> Generator[Epoch, bool | None, trees.Grown]:
    """Do one worker's part.

    Raises:
        PeerLostError: the workers do not reach each other.
    """
    try:
        return (yield from trees.run(task, Peers()))
    except LightGBMError as error:
        if str(error).startswith(NETWORK):
            raise PeerLostError(f"the workers do not reach each other: {error}") from None
        raise

"""What one worker knows of the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor, nn

from raymle.errors import WorkError


class PeerLostError(WorkError):
    """Another worker does not answer any more: what this one says of itself is no reason."""


class World(Protocol):
    """The workers of one training, seen from one of them."""

    rank: int
    size: int
    device: torch.device

    def wrap(self, module: nn.Module) -> nn.Module:
        """Give every worker the first worker's weights, and return what is called in training."""

    def average(self, parameters: list[nn.Parameter]) -> None:
        """Make every gradient the mean over all workers."""

    def settle(self, module: nn.Module) -> None:
        """Give every worker the first worker's buffers, such as the running means of batch normalisation."""

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all workers."""

    def gather(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return every worker's rows, put together in rank order."""


@contextmanager
def together() -> Iterator[None]:
    """Tell what a library raises when another worker is gone from what this worker does wrong.

    Raises:
        PeerLostError: another worker does not answer.
    """
    try:
        yield
    except RuntimeError as error:
        raise PeerLostError(f"another worker does not answer: {str(error).splitlines()[0]}") from None

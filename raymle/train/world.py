"""What one worker knows of the others."""

from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor, nn


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

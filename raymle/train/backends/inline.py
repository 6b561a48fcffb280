"""One worker, in this process."""

from typing import Any, final

import numpy.typing as npt
import torch
from torch import Tensor, nn

from raymle.errors import ResourceError


@final
class World:
    """A world of one."""

    rank = 0
    size = 1

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module itself."""
        return module

    def average(self, parameters: list[nn.Parameter]) -> None:
        """Leave the gradients as they are."""

    def settle(self, module: nn.Module) -> None:
        """Leave the buffers as they are."""

    def sum(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values

    def gather(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the rows."""
        return rows


def device(gpus: float) -> torch.device:
    """Return the device of a worker that asks for so many GPUs."""
    if gpus and not torch.cuda.is_available():
        raise ResourceError(
            f"train.resources.gpu is {gpus:g}, but torch sees no GPU here",
            hint="set it to 0",
        )
    return torch.device("cuda" if gpus else "cpu")

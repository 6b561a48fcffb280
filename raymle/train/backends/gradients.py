"""All gradients of a module as one tensor: the workers agree on them by one message."""

from typing import final

import torch
from torch import Tensor, nn


@final
class Flat:
    """One buffer for all gradients. It is kept: memory that is new in every step costs more than the copies."""

    def __init__(self) -> None:
        self._buffer = torch.empty(0)

    def pack(self, parameters: list[nn.Parameter]) -> Tensor:
        """Return all gradients one after another, ``[weights]``."""
        for parameter in parameters:
            if parameter.grad is None:  # not used by this worker's rows, perhaps by another's
                parameter.grad = torch.zeros_like(parameter)
        gradients = [gradient.flatten() for gradient in _gradients(parameters)]
        if self._buffer.numel() == sum(gradient.numel() for gradient in gradients):
            torch.cat(gradients, out=self._buffer)
        else:
            self._buffer = torch.cat(gradients)
        return self._buffer

    def unpack(self, parameters: list[nn.Parameter], workers: int) -> None:
        """Write what ``pack`` returned, and the workers have summed, back as the mean over them."""
        gradients = _gradients(parameters)
        parts = torch.split(self._buffer, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            torch.div(part.view_as(gradient), workers, out=gradient)


def _gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]

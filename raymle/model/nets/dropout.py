"""Dropout from 16 random bits a value: torch's own takes longer on a CPU than the layer it follows."""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

HALF = 1 << 15


@final
class Dropout(nn.Module):
    """``torch.nn.Dropout`` with the share rounded to 1/65,536; seeded by torch's own random state."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """Drop that share of the values in training, and scale up the rest."""
        if not self.training or values.device.type != "cpu" or values.dtype != torch.float32:
            return functional.dropout(values, self.share, self.training)
        return values * mask(values.shape, self.share)


def mask(shape: torch.Size, share: float) -> Tensor:
    """Return float32 zeros for the share and 1 / (1 - share) for the rest."""
    words = torch.empty((shape.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[: shape.numel()].view(shape)
    last_dropped = round(share * 2 * HALF) - HALF - 1
    kept = bits.float().sub_(last_dropped).clamp_(0, 1)  # whole numbers: 0 or less is dropped, 1 or more kept
    return kept.mul_(1 / (1 - share))

"""Proof that all workers hold the same weights: every epoch their digests are compared."""

import hashlib

import numpy as np
import torch
from torch import nn

from raymle.errors import WorkError
from raymle.train.world import World


def require_in_step(module: nn.Module, world: World, epoch: int) -> None:
    """Prove that every worker holds the same weights.

    Raises:
        WorkError: one does not; it names the worker and the layer.
    """
    if differing := out_of_step(module, world):
        raise WorkError(f"{differing}, after epoch {epoch}", hint="its model is not to be trusted; look at that node")


def out_of_step(module: nn.Module, world: World) -> str:
    """Compare every worker's weights and buffers; name the first worker and layer that differ, or nothing."""
    if world.size == 1:
        return ""
    names = list(module.state_dict())
    every = world.gather(digests(module)[None])
    for rank, theirs in enumerate(every):
        differing = np.flatnonzero(theirs != every[0])
        if len(differing):
            more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
            return f"worker {rank} of {world.size} is out of step with worker 0 in {names[differing[0]]}{more}"
    return ""


def digests(module: nn.Module) -> np.ndarray:
    """Return the first 8 bytes of the sha256 of every weight and buffer, int64 ``[layers]``."""
    found = [
        hashlib.sha256(value.detach().cpu().flatten().view(torch.uint8).numpy().tobytes()).digest()[:8]
        for value in module.state_dict().values()
    ]
    return np.frombuffer(b"".join(found), "<i8")

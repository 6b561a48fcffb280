"""Workers that agree by torch.distributed: gloo on CPUs, nccl on GPUs."""

import socket
from datetime import timedelta
from typing import Any, final

import numpy as np
import numpy.typing as npt
import ray.train
import ray.train.collective
import ray.util
import torch
from torch import Tensor, distributed, nn

from raymle.train.backends.gradients import Flat
from raymle.train.world import together


@final
class World:
    """This worker's view of its process group."""

    def __init__(self, place: torch.device) -> None:
        self.rank = distributed.get_rank()
        self.size = distributed.get_world_size()
        self.device = place
        self._flat = Flat()

    def wrap(self, module: nn.Module) -> nn.Module:
        """Give every worker the first worker's weights, and return what is called in training.

        On a GPU torch's wrapper averages gradients while others are still computed. On CPUs there is nothing to
        overlap with, and the wrapper imports torch's compiler, seconds in every worker: ``average`` does it.
        """
        if self.device.type == "cuda":
            return nn.parallel.DistributedDataParallel(module, device_ids=[self.device])
        with together():
            for values in module.state_dict().values():
                distributed.broadcast(values, 0)
        return module

    def average(self, parameters: list[nn.Parameter]) -> None:
        """Make every gradient the mean over all workers: one message for all of them."""
        if self.device.type == "cuda":
            return
        message = self._flat.pack(parameters)
        with together():
            distributed.all_reduce(message)
        self._flat.unpack(parameters, self.size)

    def settle(self, module: nn.Module) -> None:
        """Give every worker the first worker's buffers, such as the running means of batch normalisation."""
        with together():
            for values in module.buffers():
                distributed.broadcast(values, 0)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all workers."""
        total = values.clone()
        with together():
            distributed.all_reduce(total)
        return total

    def gather(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return every worker's rows in rank order; padded on the way, as the shares may differ in length."""
        mine = torch.zeros(self.size, dtype=torch.int64, device=self.device)
        mine[self.rank] = len(rows)
        counts: list[int] = self.sum(mine).tolist()
        padded = torch.zeros((max(counts), *rows.shape[1:]), dtype=torch.from_numpy(rows).dtype)
        padded[: len(rows)] = torch.from_numpy(rows)
        padded = padded.to(self.device)
        parts = [torch.empty_like(padded) for _ in counts]
        with together():
            distributed.all_gather(parts, padded)
        return np.concatenate([part[:count].cpu().numpy() for part, count in zip(parts, counts, strict=True)])


def join(place: torch.device, timeout_s: float) -> World:
    """Form the process group at an address that the first worker chooses; nobody waits longer for another."""
    context = ray.train.get_context()
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    address = ray.train.collective.broadcast_from_rank_zero(f"tcp://{ray.util.get_node_ip_address()}:{port}")  # type: ignore[no-untyped-call]
    with together():
        distributed.init_process_group(
            "nccl" if place.type == "cuda" else "gloo",
            init_method=address,
            timeout=timedelta(seconds=timeout_s),
            rank=context.get_world_rank(),
            world_size=context.get_world_size(),
        )
    return World(place)

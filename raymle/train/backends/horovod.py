"""Workers that agree by Horovod over gloo; the only importer of horovod, which `make horovod` builds.

Ray's own trainer for it refuses to start, so the few things it did stand here: each worker is told its place in the
world and where the rendezvous is, before it joins. The rendezvous is plain HTTP without a password, open while a
group trains: for trusted networks only.
"""

import os
import socket
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import horovod.torch as hvd
import numpy as np
import numpy.typing as npt
import ray
import ray.util
import torch
from horovod.runner.common.util.hosts import SlotInfo
from horovod.runner.http.http_server import RendezvousServer
from ray.train.backend import Backend, BackendConfig
from torch import Tensor, nn

from raymle.train.backends.gradients import Flat
from raymle.train.world import together

SLOT = ("RANK", "LOCAL_RANK", "CROSS_RANK", "SIZE", "LOCAL_SIZE", "CROSS_SIZE")
TIMEOUT_S = 60
SHUTDOWN_S = 10


@final
class World:
    """This worker's view of its Horovod group."""

    def __init__(self, place: torch.device) -> None:
        self.rank: int = hvd.rank()
        self.size: int = hvd.size()
        self.device = place
        self._flat = Flat()

    def wrap(self, module: nn.Module) -> nn.Module:
        """Give every worker the first worker's weights, and return what is called in training."""
        with together():
            hvd.broadcast_parameters(module.state_dict(), root_rank=0)
        return module

    def average(self, parameters: list[nn.Parameter]) -> None:
        """Make every gradient the mean over all workers: one message for all of them."""
        message = self._flat.pack(parameters)
        with together():
            hvd.allreduce_(message, op=hvd.Sum, name="gradients")
        self._flat.unpack(parameters, self.size)

    def settle(self, module: nn.Module) -> None:
        """Give every worker the first worker's buffers, such as the running means of batch normalisation."""
        with together():
            for name, values in module.named_buffers():
                hvd.broadcast_(values, 0, name=f"buffer.{name}")

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all workers."""
        with together():
            total: Tensor = hvd.allreduce(values, op=hvd.Sum)
        return total

    def gather(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return every worker's rows in rank order; the shares may differ in length."""
        with together():
            return np.asarray(hvd.allgather(torch.from_numpy(np.array(rows)).to(self.device)).cpu())


def join(place: torch.device) -> World:
    """Meet the others where the environment says."""
    hvd.init()
    return World(place)


@dataclass
class HorovodConfig(BackendConfig):
    """Tells Ray Train to prepare a rendezvous."""

    timeout_s: int = TIMEOUT_S

    @property
    def backend_cls(self) -> type[Backend]:
        """What prepares it."""
        return HorovodBackend

    @property
    def framework(self) -> None:
        """None that Ray Train knows."""
        return

    def to_dict(self) -> dict[str, object]:
        """What Ray Train shows of it."""
        return {"backend": "horovod over gloo", "timeout_s": self.timeout_s}


class HorovodBackend(Backend):
    """Runs in Ray Train's controller, at every start of a group."""

    share_cuda_visible_devices = True
    server: Any = None

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Open the rendezvous and tell every worker its place."""
        self._stop()
        workers = worker_group.execute(describe)
        slots = plan([each["node"] for each in workers])
        self.server = RendezvousServer(verbose=0)
        port = self.server.start()
        self.server.init([SlotInfo(each["HOSTNAME"], *(int(each[name]) for name in SLOT)) for each in slots])
        common = {
            "GLOO_RENDEZVOUS_ADDR": _address(),
            "GLOO_RENDEZVOUS_PORT": str(port),
            "CONTROLLER": "gloo",
            "CPU_OPERATIONS": "gloo",
            "GLOO_TIMEOUT_SECONDS": str(backend_config.timeout_s),
        }
        told = [
            worker_group.execute_single_async(rank, tell, common | slot | {"GLOO_IFACE": worker["iface"]})
            for rank, (slot, worker) in enumerate(zip(slots, workers, strict=True))
        ]
        ray.get(told)

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:  # noqa: ARG002
        """Let the workers leave, then close the rendezvous."""
        try:
            ray.get(worker_group.execute_async(leave), timeout=SHUTDOWN_S)
        finally:
            self._stop()

    def _stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server._httpd.server_close()  # noqa: SLF001  stop leaves the socket open
            self.server = None


def describe() -> dict[str, str]:
    """Say, on a worker, which node it is on and which interface carries the node's address."""
    import psutil  # type: ignore[import-untyped]

    address, families = _address(), (socket.AF_INET, socket.AF_INET6)
    carries = (
        name
        for name, found in psutil.net_if_addrs().items()
        if any(each.family in families and each.address == address for each in found)
    )
    return {"node": ray.get_runtime_context().get_node_id(), "iface": next(carries, "")}


def _address() -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def tell(values: dict[str, str]) -> None:
    """Write, on a worker, what Horovod looks for; a restart writes over what was there."""
    os.environ.update({f"HOROVOD_{name}": value for name, value in values.items() if value})  # noqa: TID251


def leave() -> None:
    """Leave the group, on a worker that has joined it."""
    joined = sys.modules.get("horovod.torch")
    if joined is not None and joined.is_initialized():
        joined.shutdown()


def plan(nodes: Sequence[str]) -> list[dict[str, str]]:
    """Return Horovod's variables for each rank, from the node that each rank is on."""
    on_node: dict[str, list[int]] = defaultdict(list)
    for rank, node in enumerate(nodes):
        on_node[node].append(rank)
    local = {rank: place for ranks in on_node.values() for place, rank in enumerate(ranks)}
    across = {place: [rank for rank in local if local[rank] == place] for place in set(local.values())}
    return [
        {
            "HOSTNAME": node,
            "RANK": str(rank),
            "SIZE": str(len(nodes)),
            "LOCAL_RANK": str(local[rank]),
            "LOCAL_SIZE": str(len(on_node[node])),
            "CROSS_RANK": str(across[local[rank]].index(rank)),
            "CROSS_SIZE": str(len(across[local[rank]])),
        }
        for rank, node in enumerate(nodes)
    ]

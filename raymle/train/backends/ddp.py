"""Several workers on Ray Train, each with its own copy of the module and its share of every batch.

Workers memory-map the prepared shards, so no dataset goes through Ray. The caller's process learns of each epoch from
a file that Ray Train's controller, which runs on the same node, appends to.
"""

import json
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn, final

import numpy as np
import numpy.typing as npt
import ray
import ray.cloudpickle
import ray.train
import ray.train.collective
import ray.util
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from torch import Tensor, distributed, nn

from raymle.errors import RaymleError, ResourceError, WorkError
from raymle.records import Epoch
from raymle.train import task as tasks
from raymle.train.backends.inline import device
from raymle.train.loop import Best

POLL_S = 0.05


@final
class World:
    """This worker's view of its process group."""

    def __init__(self, place: torch.device) -> None:
        self.rank = distributed.get_rank()
        self.size = distributed.get_world_size()
        self.device = place

    def wrap(self, module: nn.Module) -> nn.Module:
        """Give every worker the first worker's weights, and return what is called in training.

        On a GPU torch's wrapper averages gradients while others are still computed. On CPUs there is nothing to
        overlap with, and the wrapper imports torch's compiler, seconds in every worker: ``average`` does it.
        """
        if self.device.type == "cuda":
            return nn.parallel.DistributedDataParallel(module, device_ids=[self.device])
        for values in module.state_dict().values():
            distributed.broadcast(values, 0)
        return module

    def average(self, parameters: list[nn.Parameter]) -> None:
        """Make every gradient the mean over all workers: one message for all of them."""
        if self.device.type == "cuda":
            return
        for parameter in parameters:
            if parameter.grad is None:  # not used by this worker's rows, perhaps by another's
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(together)
        together /= self.size
        for gradient, mean in zip(gradients, torch.split(together, [each.numel() for each in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def settle(self, module: nn.Module) -> None:
        """Give every worker the first worker's buffers, such as the running means of batch normalisation."""
        for values in module.buffers():
            distributed.broadcast(values, 0)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all workers."""
        total = values.clone()
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
        distributed.all_gather(parts, padded)
        return np.concatenate([part[:count].cpu().numpy() for part, count in zip(parts, counts, strict=True)])


def relay(path: Path) -> UserCallback:
    """Make what runs in the controller and writes rank 0's epochs and outcome where the caller's process reads them.

    A class of its own inside a function travels by value: the controller then imports neither raymle nor torch.
    """

    class Relay(UserCallback):
        def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:  # noqa: ARG002
            if "outcome" in metrics[0]:
                draft = path.with_suffix(".draft")
                draft.write_bytes(metrics[0]["outcome"])
                draft.rename(path.with_suffix(".outcome"))
                return
            with path.open("a") as file:
                file.write(json.dumps(metrics[0]) + "\n")

    return Relay()


def run(task: tasks.Task, workers: int) -> Generator[Epoch, bool | None, Best]:
    """Train with several workers on the Ray that is connected.

    Raises:
        ResourceError: the cluster has too few CPUs or GPUs.
        WorkError: a worker failed.
    """
    require(task, workers)
    folder = Path(tempfile.mkdtemp(prefix="raymle-train-"))
    history = folder / "epochs.jsonl"
    history.touch()
    fit = Background(trainer(task, workers, folder, history))
    try:
        yield from tail(history, fit)
        outcome = history.with_suffix(".outcome")
        if not outcome.exists():
            fit.result()
        best: Best = ray.cloudpickle.loads(outcome.read_bytes())
        return best  # Ray Train takes two more seconds to put its workers away: nobody has to wait for that
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def trainer(task: tasks.Task, workers: int, folder: Path, history: Path) -> DataParallelTrainer:
    """Describe the run to Ray Train; the fresh name keeps it from resuming an old one."""
    wanted = task.train.resources
    scaling = ScalingConfig(
        num_workers=workers,
        use_gpu=wanted.gpu > 0,
        resources_per_worker={"CPU": wanted.cpu} | ({"GPU": wanted.gpu} if wanted.gpu else {}),
    )
    callbacks: list[Any] = [relay(history)]
    return DataParallelTrainer(
        worker,
        train_loop_config={"task": ray.cloudpickle.dumps(task)},  # type: ignore[no-untyped-call]  # the controller must not import torch
        scaling_config=scaling,
        run_config=RunConfig(
            name=f"raymle-{uuid.uuid4().hex}",
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=0),
            callbacks=callbacks,
        ),
    )


def worker(config: dict[Any, Any]) -> None:
    """Do one worker's part; the last report of the first is what all of them agree on."""
    task: tasks.Task = ray.cloudpickle.loads(config["task"])
    torch.set_num_threads(tasks.threads(task.train))
    place = device(task.train.resources.gpu)
    meet(place)
    world = World(place)
    epochs = tasks.run(task, world)
    while True:
        try:
            ray.train.report(next(epochs).model_dump())
        except StopIteration as end:
            outcome = ray.cloudpickle.dumps(end.value) if world.rank == 0 else b""  # type: ignore[no-untyped-call]
            ray.train.report({"outcome": outcome})
            return


def meet(place: torch.device) -> None:
    """Form the process group at an address that the first worker chooses."""
    context = ray.train.get_context()
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    address = ray.train.collective.broadcast_from_rank_zero(f"tcp://{ray.util.get_node_ip_address()}:{port}")  # type: ignore[no-untyped-call]
    distributed.init_process_group(
        "nccl" if place.type == "cuda" else "gloo",
        init_method=address,
        rank=context.get_world_rank(),
        world_size=context.get_world_size(),
    )


def require(task: tasks.Task, workers: int) -> None:
    """Refuse at once what Ray would wait for in vain."""
    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    for name, each in (("CPU", task.train.resources.cpu), ("GPU", task.train.resources.gpu)):
        if workers * each > total.get(name, 0):
            raise ResourceError(
                f"{workers} workers x {each:g} {name} are more than the {total.get(name, 0):g} {name} that Ray has",
                hint=f"lower train.workers or train.resources.{name.lower()}",
            )


@final
class Background:
    """A Ray Train run in a thread, which ends with the process if nobody waits for it."""

    def __init__(self, trainer: DataParallelTrainer) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._fit, args=(trainer,), daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the run goes on."""
        return self._thread.is_alive()

    def result(self) -> NoReturn:
        """Raise what ended the run before it had an outcome."""
        self._thread.join()
        raise failure(self._error or RuntimeError("it ended without an outcome")) from None

    def _fit(self, trainer: DataParallelTrainer) -> None:
        try:
            trainer.fit()
        except BaseException as error:  # noqa: BLE001  handed to the thread that waits
            self._error = error


def tail(history: Path, fit: Background) -> Iterator[Epoch]:
    """Yield the epochs as they are written, until the outcome is there or the run has ended, and all are read."""
    outcome = history.with_suffix(".outcome")
    with history.open() as file:
        rest = ""
        while True:
            was_running = fit.is_running and not outcome.exists()
            rest += file.read()
            *lines, rest = rest.split("\n")
            yield from map(Epoch.model_validate_json, lines)
            if not was_running:
                return
            if not lines:
                time.sleep(POLL_S)


def failure(error: BaseException) -> RaymleError:
    """Return a worker's own error when it is one of ours, else a WorkError with what the worker said."""
    failed = getattr(error, "worker_failures", {})
    for rank, cause in sorted(failed.items()):
        own = getattr(cause, "cause", None) or getattr(cause, "__cause__", None) or cause
        if isinstance(own, RaymleError):
            return own
        return WorkError(f"training worker {rank} failed: {type(own).__name__}: {str(own).splitlines()[-1]}")
    return WorkError(f"training failed: {type(error).__name__}: {error}")

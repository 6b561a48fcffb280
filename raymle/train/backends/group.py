"""A group of workers on Ray Train, each with its own copy of the module and its share of every batch.

Workers memory-map the prepared shards, so no dataset goes through Ray. The caller's process learns of each epoch from
a file that Ray Train's controller, which runs on the same node, appends to. How the workers agree on gradients is a
backend's affair.
"""

import json
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn, final

import ray
import ray.cloudpickle
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.backend import BackendConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from raymle.errors import RaymleError, ResourceError, WorkError
from raymle.records import Epoch
from raymle.runtime import USES_RAY
from raymle.train import task as tasks
from raymle.train.backends.inline import device
from raymle.train.loop import Best
from raymle.train.world import World

POLL_S = 0.05
Join = Callable[[torch.device], World]


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


def run(
    task: tasks.Task, workers: int, join: Join, *, config: BackendConfig | None = None
) -> Generator[Epoch, bool | None, Best]:
    """Train with several workers on the Ray that is connected.

    Args:
        task: What is trained.
        workers: How many.
        join: How a worker meets the others, in its own process.
        config: What Ray Train prepares for that; None when there is nothing.

    Raises:
        ResourceError: the cluster has too few CPUs or GPUs.
        WorkError: a worker failed.
    """
    require(task, workers)
    folder = Path(tempfile.mkdtemp(prefix="raymle-train-"))
    history = folder / "epochs.jsonl"
    history.touch()
    fit = Background(trainer(task, workers, folder, history, join=join, config=config))
    try:
        yield from tail(history, fit)
        outcome = history.with_suffix(".outcome")
        if not outcome.exists():
            fit.result()
        best: Best = ray.cloudpickle.loads(outcome.read_bytes())
        return best  # Ray Train takes two more seconds to put its workers away: nobody has to wait for that
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def trainer(
    task: tasks.Task, workers: int, folder: Path, history: Path, *, join: Join, config: BackendConfig | None
) -> DataParallelTrainer:
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
        train_loop_config={"work": ray.cloudpickle.dumps((task, join))},  # type: ignore[no-untyped-call]  # the controller must not import torch
        backend_config=config,
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
    task: tasks.Task
    join: Join
    task, join = ray.cloudpickle.loads(config["work"])
    torch.set_num_threads(tasks.threads(task.train))
    world = join(device(task.train.resources.gpu))
    epochs = tasks.run(task, world)
    while True:
        try:
            ray.train.report(next(epochs).model_dump())
        except StopIteration as end:
            outcome = ray.cloudpickle.dumps(end.value) if world.rank == 0 else b""  # type: ignore[no-untyped-call]
            ray.train.report({"outcome": outcome})
            return


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
        self._thread = threading.Thread(target=self._fit, args=(trainer,), daemon=True, name=USES_RAY)
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

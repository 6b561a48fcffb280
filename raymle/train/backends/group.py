"""A group of workers on Ray Train, each of which does its part of one training.

Workers memory-map the prepared shards, so no dataset goes through Ray. A worker that is lost takes the group with it;
it starts again from the newest checkpoint, with as many workers as there is room for when their number is a range.
What a part is, and how the workers agree, is a backend's affair.
"""

import shutil
import uuid
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

import ray
import ray.cloudpickle
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.backend import BackendConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from raymle.config import WorkersRange
from raymle.errors import ResourceError, WorkError
from raymle.records import Epoch
from raymle.runtime import scratch
from raymle.store import open_store
from raymle.train import checkpoint, stop
from raymle.train import task as tasks
from raymle.train.backends.failure import Restarts, WorkerLostError, failure, stuck
from raymle.train.backends.inline import device
from raymle.train.backends.relay import Background, relay, tail
from raymle.train.best import Best
from raymle.train.check import count
from raymle.train.display import say
from raymle.train.keeper import Keeper
from raymle.train.watch import Watch
from raymle.train.world import World

STARTS = 10
"""Times that Ray tries to start a group, a minute each: a machine that is gone may be replaced."""
T = TypeVar("T")
Part = Callable[[tasks.Task], Generator[Epoch, bool | None, T]]
"""What a worker does, in its own process; all of them come to the same end, and the first one's is told."""
Join = Callable[[torch.device], World]
"""How a worker of a network meets the others."""


def run(
    task: tasks.Task, part: Part[T], *, config: BackendConfig | None = None
) -> Generator[Epoch, bool | None, tuple[T, list[str]]]:
    """Train with several workers on the Ray that is connected; a lost worker's group starts again.

    Returns what the workers came to, and why they started again.

    Args:
        task: What is trained.
        part: What each worker does.
        config: What Ray Train prepares for that; None when there is nothing.

    Raises:
        ResourceError: the cluster has too few CPUs or GPUs.
        WorkError: a worker failed, is stuck, or is lost again and again.
    """
    require(task)
    restarts, seen = Restarts(), 0
    told: list[str] = []
    while True:
        try:
            epochs = attempt(task, part, config=config)
            while True:
                try:
                    epoch = next(epochs)
                except StopIteration as end:
                    return end.value, told
                if epoch.epoch > seen:
                    seen = epoch.epoch
                    yield epoch
        except WorkerLostError as lost:
            told.append(restart(task, restarts, lost))
            say(told[-1])


def restart(task: tasks.Task, restarts: Restarts, lost: WorkerLostError) -> str:
    """Decide whether a group starts again, and say from where.

    Raises:
        WorkError: it was lost too often.
        ArtifactError: every checkpoint is damaged.
    """
    found = checkpoint.required(open_store(task.storage), task.run) if task.run else checkpoint.Found(None)
    if not restarts.again(found.position):
        raise WorkError(f"{lost}; {restarts.count} times in a row without a new checkpoint")
    skipped = f" (skipped: {'; '.join(found.skipped)})" if found.skipped else ""
    return f"{lost}; the group starts again from {found.position or 'the beginning'}{skipped}"


def attempt(task: tasks.Task, part: Part[T], *, config: BackendConfig | None) -> Generator[Epoch, bool | None, T]:
    """Run one group from its newest checkpoint to its end."""
    store, stacks = open_store(task.storage or "."), stacks_of(task)
    shutil.rmtree(stacks, ignore_errors=True)
    with scratch() as folder:
        history = folder / "epochs.jsonl"
        history.touch()
        fit = Background(trainer(task, folder, history, part=part, config=config))
        yield from tail(history, fit, is_stopped=lambda: bool(task.run) and stop.is_asked(store, task.run))
        outcome = history.with_suffix(".outcome")
        if not outcome.exists():
            try:
                fit.result()
            except Exception as error:  # noqa: BLE001  Ray Train's, or the user's own
                found = failure(error)
                is_lost = isinstance(found, WorkerLostError)
                raise (is_lost and stuck(stacks, task.train.step_timeout)) or found from None
        end: T = ray.cloudpickle.loads(outcome.read_bytes())
        return end  # Ray Train takes two more seconds to put its workers away: nobody has to wait for that


def trainer(
    task: tasks.Task, folder: Path, history: Path, *, part: Part[T], config: BackendConfig | None
) -> DataParallelTrainer:
    """Describe the run to Ray Train; the fresh name keeps it from resuming an old one.

    Ray itself starts a group again when a machine is taken away with notice, and for no other reason.
    """
    wanted = task.train.resources
    scaling = ScalingConfig(
        num_workers=workers(task),
        use_gpu=wanted.gpu > 0,
        resources_per_worker={"CPU": wanted.cpu} | ({"GPU": wanted.gpu} if wanted.gpu else {}),
    )
    callbacks: list[Any] = [relay(history)]
    limits: Any = {"max_failures": 0, "controller_failure_limit": STARTS}
    return DataParallelTrainer(
        worker,
        train_loop_config={"work": ray.cloudpickle.dumps((task, part))},  # type: ignore[no-untyped-call]  # the controller must not import torch
        backend_config=config,
        scaling_config=scaling,
        run_config=RunConfig(
            name=f"raymle-{uuid.uuid4().hex}",
            storage_path=str(folder),
            failure_config=FailureConfig(**limits),
            callbacks=callbacks,
        ),
    )


def workers(task: tasks.Task) -> Any:
    """Return how many workers, or the range of an elastic group, in Ray's words."""
    asked = task.train.workers
    return (asked.min, asked.max) if isinstance(asked, WorkersRange) else asked


def worker(config: dict[Any, Any]) -> None:
    """Do one worker's part; the last report of the first is what all of them agree on."""
    task: tasks.Task
    part: Part[Any]
    task, part = ray.cloudpickle.loads(config["work"])
    torch.set_num_threads(tasks.threads(task.train))
    is_first = ray.train.get_context().get_world_rank() == 0
    epochs = part(task)
    while True:
        try:
            ray.train.report(next(epochs).model_dump())
        except StopIteration as end:
            outcome = ray.cloudpickle.dumps(end.value) if is_first else b""  # type: ignore[no-untyped-call]
            ray.train.report({"outcome": outcome})
            return


def network(task: tasks.Task, join: Join) -> Generator[Epoch, bool | None, Best]:
    """Do one worker's part in training a network."""
    world = join(device(task.train.resources.gpu))
    return tasks.run(task, world, keeper(task, world.rank))


def keeper(task: tasks.Task, rank: int) -> Keeper:
    """Return a worker's view of the run's checkpoints, with a watch over its steps."""
    if not task.run:
        return Keeper()
    watch = Watch(stacks_of(task) / f"worker-{rank}.txt", task.train.step_timeout)
    return Keeper(task.storage, task.run, watch=watch, warned=warned)


def warned() -> bool:
    """Whether a machine of the group will soon be taken away; all workers ask together."""
    return ray.train.get_preemption_info() is not None


def stacks_of(task: tasks.Task) -> Path:
    """Return where stuck workers write their stacks."""
    return open_store(task.storage).root / "runs" / task.run / "stacks" if task.run else Path("/nonexistent")


def require(task: tasks.Task) -> None:
    """Refuse at once what Ray would wait for in vain."""
    needed = count(task.train)
    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    for name, each in (("CPU", task.train.resources.cpu), ("GPU", task.train.resources.gpu)):
        if needed * each > total.get(name, 0):
            raise ResourceError(
                f"{needed} workers x {each:g} {name} are more than the {total.get(name, 0):g} {name} that Ray has",
                hint=f"lower train.workers or train.resources.{name.lower()}",
            )

"""raymle's own workers taking turns with the peers: `python backends_raymle.py BACKEND SOCKET FOLDER WIDTH`.

All of it is the product's: Ray by ``runtime``, the group's join, the learner and its step. Only who waits for whom
is the benchmark's.
"""

import sys
import time
from pathlib import Path
from typing import Any

BATCH = 128


def main(backend: str, socket: str, folder: str, width: str) -> None:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    from raymle import runtime
    from raymle.config import ClusterConfig

    config = None
    if backend == "horovod":
        from raymle.train.backends.horovod import HorovodConfig

        config = HorovodConfig()
    imported = time.time()
    with runtime.connected(runtime.decide(ClusterConfig(address="local"))):
        DataParallelTrainer(
            worker,
            train_loop_config={
                "socket": socket, "folder": folder, "width": int(width), "backend": backend,
                "driver": imported, "ray": time.time(),
            },
            backend_config=config,
            scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(name="turns", storage_path=str(Path(folder).absolute())),
        ).fit()  # fmt: skip


def worker(config: dict[str, Any]) -> None:
    entered = time.time()
    import numpy as np
    import torch
    from turns import Seat

    from raymle.config import ModelConfig, TrainConfig
    from raymle.config.amount import settled
    from raymle.data.shards import Arrays
    from raymle.model.build import build
    from raymle.records import Inputs
    from raymle.train.learner import Learner
    from raymle.train.objective import Objective
    from raymle.train.proof import out_of_step

    if config["backend"] == "horovod":
        from raymle.train.backends.horovod import join
    else:
        from raymle.train.backends.ddp import join

    imported = time.time()
    torch.set_num_threads(1)
    world = join(torch.device("cpu"))
    joined = time.time()
    numbers, target = (np.load(f"{config['folder']}/{name}.npy", mmap_mode="r") for name in ("numbers", "target"))
    train = Arrays(numbers, np.zeros((len(numbers), 0), np.int32), target, np.arange(len(numbers)))
    model = ModelConfig(type="mlp", params={"hidden": [config["width"]] * 3, "dropout": 0.0})
    module = build(model, Inputs(numbers=numbers.shape[1], categories=()), 2)
    plan = settled(TrainConfig(epochs=1, batch_size=BATCH, workers=2), model, len(numbers))
    learner = Learner(module, plan, Objective("classification", "accuracy", outputs=2), world, rows=len(numbers))
    marks = {"driver": config["driver"], "ray": config["ray"], "entered": entered, "imported": imported}
    seat = Seat(config["socket"], joined=joined, **marks)
    for epoch, steps in seat.turns():
        if steps == 0:  # a turn of its own: the proof that both are in step
            assert not out_of_step(module, world)
            seat.answer(0.0)
            continue
        order = torch.randperm(len(target), generator=torch.Generator().manual_seed(epoch))
        learned = learner.fresh()
        for rows in order.split(BATCH)[:steps]:
            learner.step(train, rows.numpy(), learned)
        losses = world.sum(learned.losses[:steps])
        seat.answer(float(losses.sum()) / steps / BATCH)


if __name__ == "__main__":
    main(*sys.argv[1:])

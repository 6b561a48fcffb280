"""One training as plain values, and one worker's part in it."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from raymle.ancestry import Layer
from raymle.config.train import TrainConfig
from raymle.data import shards
from raymle.model import Contents
from raymle.model.build import build
from raymle.model.nets.anomaly import Verdict
from raymle.records import Epoch, Splits
from raymle.train import loop, own
from raymle.train.best import Best
from raymle.train.check import is_group
from raymle.train.keeper import Keeper
from raymle.train.objective import Objective
from raymle.train.world import World


@final
@dataclass(frozen=True)
class Task:
    """All that a worker needs to know; it pickles."""

    train: TrainConfig
    contents: Contents
    splits: Splits
    objective: Objective
    folder: str
    storage: str
    run: str = ""
    """Id of the run whose checkpoints are kept; empty keeps none."""
    start: Mapping[str, Tensor] = field(default_factory=dict)
    """Weights and buffers to begin with; empty begins with those that the seed gives."""
    layers: tuple[Layer, ...] = ()
    """Which weights are trained, when and how fast; empty trains all alike."""

    def module(self) -> nn.Module:
        """Build the network; seed and start give every worker the same first weights."""
        contents = self.contents
        module = build(contents.model, contents.inputs, contents.outputs, folder=self.folder, seed=self.train.seed)
        if self.start:
            module.load_state_dict(self.start)
        for part in module.modules():
            if isinstance(part, Verdict):
                part.begin()
        for layer in self.layers:
            module.get_parameter(layer.name).requires_grad_(layer.since == 1)
        return module


def run(task: Task, world: World, keeper: Keeper) -> Generator[Epoch, bool | None, Best]:
    """Do one worker's part: the user's loop if there is one, else ours."""
    splits = shards.here(task.splits, task.storage)
    train, validation = shards.load(splits, "train"), shards.load(splits, "validation")
    if task.train.loop:
        users = own.epochs(task.train.loop, task.folder)
        return users(task.module(), train, validation, task.train, objective=task.objective, world=world)
    return loop.epochs(
        task.module(), train, validation, task.train, objective=task.objective, world=world, keeper=keeper,
        layers=task.layers,
    )  # fmt: skip


def threads(train: TrainConfig) -> int:
    """Return how many threads each worker computes with: one of several has the CPUs that it asked for."""
    return max(1, int(train.resources.cpu)) if is_group(train) else torch.get_num_threads()

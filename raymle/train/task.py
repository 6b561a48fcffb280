"""One training as plain values, and one worker's part in it."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from raymle.config.train import TrainConfig
from raymle.data import shards
from raymle.model import Contents
from raymle.model.build import build
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

    def module(self) -> nn.Module:
        """Build the network; the seed gives every worker the same first weights."""
        contents = self.contents
        return build(contents.model, contents.inputs, contents.outputs, folder=self.folder, seed=self.train.seed)


def run(task: Task, world: World, keeper: Keeper) -> Generator[Epoch, bool | None, Best]:
    """Do one worker's part: the user's loop if there is one, else ours."""
    splits = shards.here(task.splits, task.storage)
    train, validation = shards.load(splits, "train"), shards.load(splits, "validation")
    if task.train.loop:
        users = own.epochs(task.train.loop, task.folder)
        return users(task.module(), train, validation, task.train, objective=task.objective, world=world)
    return loop.epochs(
        task.module(), train, validation, task.train, objective=task.objective, world=world, keeper=keeper
    )


def threads(train: TrainConfig) -> int:
    """Return how many threads each worker computes with: one of several has the CPUs that it asked for."""
    return max(1, int(train.resources.cpu)) if is_group(train) else torch.get_num_threads()

"""One worker's epochs as a generator of reports: plain torch, no Ray.

Every worker walks the same batches in the same order and computes its share of each; how many steps an epoch
has follows from the rows alone, so no worker can wait for a step that another does not take.
"""

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from math import ceil
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from raymle.config.train import TrainConfig
from raymle.data.shards import Arrays
from raymle.errors import WorkError
from raymle.model.network import forward
from raymle.records import Epoch, Metrics
from raymle.train import order
from raymle.train.learner import Learned, Learner, unwell
from raymle.train.objective import Objective
from raymle.train.proof import out_of_step
from raymle.train.world import World

CHECK_STEPS = 64
"""Steps between two looks at the losses: each look makes an accelerator wait."""


@final
@dataclass
class Best:
    """The best weights so far, and how the training ended."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    epoch: int = 0
    epochs: int = 0
    metrics: Metrics = field(default_factory=dict)
    rank: float = float("-inf")
    problem: str = ""
    """Why the training had to stop; empty when it did not."""
    warnings: tuple[str, ...] = ()
    """What the gradients of the first epoch in which they were unwell looked like."""

    def take(self, module: nn.Module, metrics: Metrics, rank: float) -> bool:
        """Count an epoch, keep its weights if they are better, and say whether they are."""
        self.epochs += 1
        if rank <= self.rank or np.isnan(rank):
            return False
        self.weights = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
        self.epoch, self.metrics, self.rank = self.epochs, metrics, rank
        return True

    def hear(self, warnings: list[str]) -> None:
        """Keep the first epoch's warnings."""
        self.warnings = self.warnings or tuple(f"epoch {self.epochs}: {text}" for text in warnings)

    def is_stale(self, config: TrainConfig) -> bool:
        """Whether early stopping's patience is over."""
        stopping = config.early_stopping
        return stopping is not None and self.epochs - self.epoch >= stopping.patience


def epochs(
    module: nn.Module,
    train: Arrays,
    validation: Arrays,
    config: TrainConfig,
    *,
    objective: Objective,
    world: World,
) -> Generator[Epoch, bool | None, Best]:
    """Train a module, report after every epoch, and return the best weights.

    Args:
        module: The network; it is trained in place.
        train: Rows to learn from, all of them on every worker; memory-mapped arrays cost nothing.
        validation: Rows to choose the best epoch by.
        config: The ``train`` section.
        objective: Loss, metric and target scale.
        world: The other workers.
    """
    torch.manual_seed(config.seed * 10_007 + world.rank)  # dropout: each worker its own
    module.to(world.device)
    learner = Learner(module, config, objective, world, steps=step_count(len(train.numbers), config.batch_size))
    best = Best()
    for number in range(1, config.epochs + 1):
        started = time.monotonic()
        learned = pass_over(learner, train, number)
        seconds = time.monotonic() - started
        if problem := learned.problem(number):
            best.problem = problem
            return best
        metrics = learned.metrics(len(train.numbers), seconds) | validate(learner.judged, validation, objective, world)
        if not np.isfinite(metrics["validation_loss"]):  # the last step was one too many: no loss has shown it yet
            best.problem = f"the validation loss is not finite after step {learner.steps} of epoch {number}"
            return best
        check_in_step(learner, number)
        metrics["learning_rate"] = learner.stepper.rate
        is_best = best.take(learner.judged, metrics, objective.rank(metrics))
        learner.stepper.hear(objective.rank(metrics))
        layers = learner.layers(learned)
        best.hear(unwell(layers))
        metrics |= {f"grad_norm/{name}": norm for name, norm in layers.items()}
        stop = yield Epoch(epoch=number, step=number * learner.steps, metrics=metrics, best=is_best)
        if agreed(world, stop=bool(stop) or best.is_stale(config)):
            break
    return best


def pass_over(learner: Learner, train: Arrays, epoch: int) -> Learned:
    """Learn from every row once; stops early when the loss or a gradient is not finite."""
    learner.module.train()
    learned = learner.fresh()
    for rows in order.batches(train, learner.config, epoch, steps=learner.steps):
        learner.step(train, rows, learned)
        if learned.done == learner.steps or learned.done % CHECK_STEPS == 0:
            look(learned, learner.world)
            if learned.bad_step is not None:
                break
    return learned


def check_in_step(learner: Learner, epoch: int) -> None:
    """Prove that every worker holds the same weights.

    Raises:
        WorkError: one does not; it names the worker and the layer.
    """
    if differing := out_of_step(learner.bare, learner.world):
        raise WorkError(f"{differing}, after epoch {epoch}", hint="its model is not to be trusted; look at that node")


def step_count(rows: int, batch_size: int) -> int:
    """Steps of one epoch."""
    return max(1, ceil(rows / batch_size))


def look(learned: Learned, world: World) -> None:
    """Add up every worker's losses of the steps since the last look, and find the first step that is not finite."""
    new = slice(learned.looked, learned.done)
    learned.losses[new] = world.sum(learned.losses[new])
    finite = torch.isfinite(learned.losses[new]) & torch.isfinite(learned.norms[new])
    if not bool(finite.all()):
        learned.bad_step = learned.looked + int(finite.int().argmin())
    learned.looked = learned.done


def validate(module: nn.Module, validation: Arrays, objective: Objective, world: World) -> Metrics:
    """Return the loss and the deciding metric over all validation rows, the same on every worker."""
    world.settle(module)
    parts = np.array_split(np.arange(len(validation.numbers)), world.size)
    mine = slice(parts[world.rank][0], parts[world.rank][-1] + 1) if len(parts[world.rank]) else slice(0, 0)
    module.eval()
    raw = world.gather(forward(module, validation.numbers[mine], validation.codes[mine], objective.outputs))
    with torch.inference_mode():
        loss = objective.judging()(torch.from_numpy(raw), objective.targets(validation.target))
    score = objective.score(validation.target, objective.predictions(raw))
    return {"validation_loss": float(loss) / max(1, len(raw)), **score}


def agreed(world: World, *, stop: bool) -> bool:
    """Return the first worker's decision on every worker."""
    mine = torch.tensor(float(stop and world.rank == 0), device=world.device)
    return bool(world.sum(mine) > 0)

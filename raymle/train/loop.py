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
import numpy.typing as npt
import torch
from torch import Tensor, nn

from raymle.config.train import TrainConfig
from raymle.data.shards import Arrays
from raymle.model.network import as_inputs, forward
from raymle.records import Epoch, Metrics
from raymle.train.objective import Objective
from raymle.train.optimizer import Stepper
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

    def take(self, module: nn.Module, metrics: Metrics, rank: float) -> bool:
        """Count an epoch, keep its weights if they are better, and say whether they are."""
        self.epochs += 1
        if rank <= self.rank or np.isnan(rank):
            return False
        self.weights = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
        self.epoch, self.metrics, self.rank = self.epochs, metrics, rank
        return True

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
        learned = learner.pass_over(train, number)
        seconds = time.monotonic() - started
        if problem := learned.problem(number):
            best.problem = problem
            return best
        metrics = learned.metrics(len(train.numbers), seconds) | validate(module, validation, objective, world)
        if not np.isfinite(metrics["validation_loss"]):  # the last step was one too many: no loss has shown it yet
            best.problem = f"the validation loss is not finite after step {learner.steps} of epoch {number}"
            return best
        metrics["learning_rate"] = learner.stepper.rate
        is_best = best.take(module, metrics, objective.rank(metrics))
        stop = yield Epoch(epoch=number, step=number * learner.steps, metrics=metrics, best=is_best)
        if agreed(world, stop=bool(stop) or best.is_stale(config)):
            break
    return best


def step_count(rows: int, batch_size: int) -> int:
    """Steps of one epoch."""
    return max(1, ceil(rows / batch_size))


def batches(train: Arrays, steps: int, seed: int, epoch: int) -> list[npt.NDArray[np.int64]]:
    """Return the rows of each step: a permutation of the canonical order, cut into even parts.

    Even parts, rather than full batches and a rest, because one row is too few for batch normalisation.
    """
    shuffle = np.random.Generator(np.random.PCG64([seed, epoch]))
    return np.array_split(np.asarray(train.order)[shuffle.permutation(len(train.order))], steps)


def share(rows: npt.NDArray[np.int64], world: World) -> tuple[npt.NDArray[np.int64], float]:
    """Return this worker's part of a batch and its weight; a worker without a row borrows one at weight 0."""
    mine = np.array_split(rows, world.size)[world.rank]
    return (mine, 1.0) if len(mine) else (rows[:1], 0.0)


@final
@dataclass
class Learned:
    """Per-step traces of one epoch, kept on the device until somebody looks."""

    losses: Tensor
    norms: Tensor
    bad_step: int | None = None

    def problem(self, epoch: int) -> str:
        """Say at which step the training left the real numbers; empty when it did not."""
        if self.bad_step is None:
            return ""
        what = "loss" if not torch.isfinite(self.losses[self.bad_step]) else "gradient"
        return f"the {what} is not finite at step {self.bad_step + 1} of {len(self.losses)} in epoch {epoch}"

    def metrics(self, rows: int, seconds: float) -> Metrics:
        """Sum the epoch up."""
        return {
            "train_loss": float(self.losses.sum()) / rows,
            "grad_norm": float(self.norms.mean()),
            "rows_per_second": rows / max(seconds, 1e-9),
        }


@final
class Learner:
    """A module with what moves its weights."""

    def __init__(
        self, module: nn.Module, config: TrainConfig, objective: Objective, world: World, *, steps: int
    ) -> None:
        self.config, self.objective, self.world, self.steps = config, objective, world, steps
        self.module = world.wrap(module)
        self.parameters = [weight for weight in module.parameters() if weight.requires_grad]
        self.stepper = Stepper(self.parameters, config.optimizer, steps=config.epochs * steps)

    def pass_over(self, train: Arrays, epoch: int) -> Learned:
        """Learn from every row once; stops early when the loss or a gradient is not finite."""
        self.module.train()
        learned = Learned(*torch.zeros(2, self.steps, device=self.world.device))
        looked = 0
        for step, rows in enumerate(batches(train, self.steps, self.config.seed, epoch)):
            learned.losses[step], learned.norms[step] = self.step(train, rows)
            if step + 1 == self.steps or (step + 1) % CHECK_STEPS == 0:
                learned.bad_step = look(learned, looked, step + 1, self.world)
                looked = step + 1
                if learned.bad_step is not None:
                    break
        return learned

    def step(self, train: Arrays, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Take one step; return this worker's loss summed over its rows, and the gradient's norm."""
        mine, weight = share(rows, self.world)
        inputs = as_inputs(train.numbers[mine], train.codes[mine], self.world.device)
        targets = self.objective.targets(train.target[mine]).to(self.world.device)
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            outputs = self.module(**inputs)
        loss = self.objective.loss_sum(outputs, targets) * weight
        torch.autograd.backward(loss * (self.world.size / len(rows)))  # the mean over workers undoes the size
        self.world.average(self.parameters)
        norm = self.clip()
        self.stepper.step()
        return loss.detach(), norm

    def clip(self) -> Tensor:
        """Scale the gradients down to the norm allowed, and return the norm they had."""
        gradients = [weight.grad for weight in self.parameters if weight.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self.config.optimizer.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self.parameters, self.config.optimizer.clip_norm, norm)
        return norm


def look(learned: Learned, start: int, stop: int, world: World) -> int | None:
    """Add up every worker's losses of these steps, and return the first step that is not finite."""
    learned.losses[start:stop] = world.sum(learned.losses[start:stop])
    finite = torch.isfinite(learned.losses[start:stop]) & torch.isfinite(learned.norms[start:stop])
    return None if bool(finite.all()) else start + int(finite.int().argmin())


def validate(module: nn.Module, validation: Arrays, objective: Objective, world: World) -> Metrics:
    """Return the loss and the deciding metric over all validation rows, the same on every worker."""
    world.settle(module)
    parts = np.array_split(np.arange(len(validation.numbers)), world.size)
    mine = slice(parts[world.rank][0], parts[world.rank][-1] + 1) if len(parts[world.rank]) else slice(0, 0)
    module.eval()
    raw = world.gather(forward(module, validation.numbers[mine], validation.codes[mine], objective.outputs))
    with torch.inference_mode():
        loss = objective.loss_sum(torch.from_numpy(raw), objective.targets(validation.target))
    score = objective.score(validation.target, objective.predictions(raw))
    return {"validation_loss": float(loss) / max(1, len(raw)), **score}


def agreed(world: World, *, stop: bool) -> bool:
    """Return the first worker's decision on every worker."""
    mine = torch.tensor(float(stop and world.rank == 0), device=world.device)
    return bool(world.sum(mine) > 0)

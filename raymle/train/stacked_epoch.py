"""One epoch of a stack: the same batches, reports and problems as an epoch of each network alone."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from raymle.config.train import TrainConfig
from raymle.data.shards import Arrays
from raymle.model.network import BATCH_ROWS
from raymle.records import Epoch
from raymle.train import order
from raymle.train.best import Best
from raymle.train.learner import Learned, unwell
from raymle.train.loop import unjudged
from raymle.train.objective import Objective
from raymle.train.optimizer import Plateau, factor, warmup_share
from raymle.train.stack import Slice, Stack, summed

FEWEST_ROWS = 256


@final
@dataclass(eq=False)
class Course:
    """How far one network of a stack has come."""

    place: int
    """The member's place among all; the network's row in the stack changes when others are over."""
    train: TrainConfig
    module: nn.Module
    """With its first weights."""
    best: Best = field(default_factory=Best)
    plateau: Plateau = field(default_factory=Plateau)
    seconds: float = 0.0
    """Its share of the stack's."""

    @property
    def is_over(self) -> bool:
        """Whether it trains no more, even if nobody stops it."""
        best = self.best
        return bool(best.problem) or best.epochs >= self.train.epochs or best.is_stale(self.train)

    def hear(self, rank: float) -> None:
        """Take how good an epoch was, higher is better; only schedule plateau listens."""
        if self.train.optimizer.schedule == "plateau":
            self.plateau.hear(rank)


def epoch(
    stack: Stack, courses: Sequence[Course], train: Arrays, validation: Arrays, objective: Objective
) -> dict[int, Epoch]:
    """Learn from every row once, judge, and report by place; who fails has no report, but its problem."""
    number, steps = courses[0].best.epochs + 1, order.steps_of(len(train.numbers), courses[0].train)
    paces = rates(courses, steps)
    every = pass_over(stack, courses, train, objective, paces)
    raw, judged = validate(stack, validation, objective)
    weights, reports = stack.weights(), {}
    for row, (course, learned, loss) in enumerate(zip(courses, every, judged, strict=True)):
        course.best.problem = learned.problem(number) or unjudged(loss, number, steps)
        if course.best.problem:
            continue
        score = objective.score(validation.target, objective.predictions(raw[row]))
        layers, rate = learned.means(stack.names, stack.sizes), float(paces[-1, row])
        metrics = learned.metrics() | {"validation_loss": loss, **score, "learning_rate": rate}
        metrics |= {f"grad_norm/{name}": norm for name, norm in layers.items()}
        rank = objective.rank(metrics)
        course.hear(rank)
        reports[course.place] = course.best.count(
            Slice(weights, row), metrics, rank, step=number * steps, warnings=unwell(layers)
        )
    return reports


def rates(courses: Sequence[Course], steps: int) -> npt.NDArray[np.float64]:
    """Return the next epoch's learning rates, ``[steps, K]``."""
    optimizer, done = courses[0].train.optimizer, courses[0].best.epochs * steps
    shares = {
        epochs: [
            factor(optimizer.schedule, done + step, epochs * steps, warmup=warmup_share(optimizer))
            for step in range(steps)
        ]
        for epochs in {course.train.epochs for course in courses}
    }
    columns = np.array([shares[course.train.epochs] for course in courses]).T
    tops = np.array([course.train.optimizer.learning_rate for course in courses])
    return np.asarray(columns * tops * np.array([course.plateau.factor for course in courses]))


def pass_over(
    stack: Stack, courses: Sequence[Course], train: Arrays, objective: Objective, paces: npt.NDArray[np.float64]
) -> list[Learned]:
    """Learn from every row once; return what each member learned."""
    started, steps = time.monotonic(), len(paces)
    losses, norms = torch.zeros(2, steps, len(stack), dtype=stack.matrix.dtype)
    layers = torch.zeros(len(stack), len(stack.names), dtype=stack.matrix.dtype)
    columns = torch.from_numpy(paces).to(stack.matrix.dtype)[:, :, None]
    for step, rows in enumerate(batches(courses, train, steps)):
        inputs, targets = stack.inputs(train.rows(rows)), objective.targets(train.target[rows])
        losses[step], found = stack.step(inputs, targets, columns[step])
        norms[step] = torch.linalg.vector_norm(found, dim=1)
        layers += found
    seconds = time.monotonic() - started
    every = [
        Learned(losses[:, row], norms[:, row], layers[row], len(train.numbers), done=steps, seconds=seconds)
        for row in range(len(stack))
    ]
    for learned in every:
        learned.look()
    return every


def batches(courses: Sequence[Course], train: Arrays, steps: int) -> Iterator[order.Rows]:
    """Yield the rows of each step: ``[n]`` if all members have one seed, else each member's ``[K, n]``."""
    number = courses[0].best.epochs + 1
    configs = {course.train.seed: course.train for course in courses}
    streams = [order.batches(train, config, number, steps=steps) for config in configs.values()]
    if len(streams) == 1:
        return streams[0]
    seeds = list(configs)
    places = [seeds.index(course.train.seed) for course in courses]
    return (np.stack(rows)[places] for rows in zip(*streams, strict=True))


def validate(stack: Stack, validation: Arrays, objective: Objective) -> tuple[npt.NDArray[Any], list[float]]:
    """Return each network's raw output ``[K, n, outputs]`` and loss over all validation rows."""
    rows, judge, targets = len(validation.numbers), objective.judging("none"), objective.targets(validation.target)
    losses, parts = torch.zeros(len(stack), dtype=torch.float64), []
    size = max(FEWEST_ROWS, BATCH_ROWS // len(stack))  # of a batch: no more memory for many than for one
    for start in range(0, max(1, rows), size):
        some = slice(start, start + size)
        parts.append(stack.forward(stack.inputs(validation.rows(some))))
        losses += summed(judge, parts[-1], targets[some])
    return torch.cat(parts, dim=1).numpy(), (losses / max(1, rows)).tolist()

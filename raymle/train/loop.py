"""One worker's epochs as a generator of reports: plain torch, no Ray.

Every worker walks the same batches in the same order and computes its share of each; how many steps an epoch
has follows from the rows alone, so no worker can wait for a step that another does not take. Where a training was
left, the next one goes on: with the same batches, random numbers and sums.
"""

import time
from collections.abc import Generator, Sequence

import numpy as np
import torch
from torch import nn

from raymle.ancestry import Layer
from raymle.config.train import TrainConfig
from raymle.data.shards import Arrays
from raymle.model.network import forward
from raymle.records import Epoch, Metrics
from raymle.train import order
from raymle.train.best import SAVE, STOP, Best
from raymle.train.checkpoint import Position
from raymle.train.keeper import Keeper, Wish, restore_random
from raymle.train.learner import Learned, Learner, unwell
from raymle.train.objective import Objective
from raymle.train.proof import require_in_step
from raymle.train.world import World


def epochs(
    module: nn.Module,
    train: Arrays,
    validation: Arrays,
    config: TrainConfig,
    *,
    objective: Objective,
    world: World,
    keeper: Keeper | None = None,
    layers: Sequence[Layer] = (),
) -> Generator[Epoch, bool | None, Best]:
    """Train a module, report after every epoch, and return the best weights.

    What a checkpoint has of earlier epochs is reported again first: the reports are complete whoever listens.

    Args:
        module: The network; it is trained in place.
        train: Rows to learn from, all of them on every worker; memory-mapped arrays cost nothing.
        validation: Rows to choose the best epoch by.
        config: The ``train`` section.
        objective: Loss, metric and target scale.
        world: The other workers.
        keeper: The run's checkpoints; None keeps none.
        layers: Which weights are trained, when and how fast; empty trains all alike.
    """
    keeper = keeper or Keeper()
    torch.manual_seed(config.seed * 10_007 + world.rank)  # dropout: each worker its own
    module.to(world.device)
    learner = Learner(module, config, objective, world, rows=len(train.numbers), layers=layers)
    best = Best()
    learned = resume(learner, best, keeper)
    is_over = yield from told_again(best.reports)
    while not is_over and best.epochs < config.epochs and not best.is_stale(config):
        number, learned = best.epochs + 1, learned or learner.fresh()
        wish = pass_over(learner, train, best, learned, keeper)
        if problem := learned.problem(number):
            best.problem = problem
            break
        if learned.done < learner.steps:
            best.is_stopped = True
            break
        report = judge(learner, validation, best, learned)
        if report is None:
            break
        if wish.save:
            keep(learner, best, None, keeper)
        answer = yield report
        while answer is SAVE:
            keep(learner, best, None, keeper)
            answer = yield report
        if wish.stop or agreed(world, stop=answer is STOP):
            best.is_stopped = wish.stop
            break
        learned = None
    keeper.close()
    best.workers = world.size
    best.add([keeper.problem] if keeper.problem else [])
    return best


def told_again(reports: Sequence[Epoch]) -> Generator[Epoch, bool | None, bool]:
    """Report what was reported before, and take the answers; return whether the training shall end here."""
    for report in reports:
        answer = yield report
        while answer is SAVE:  # it is kept already
            answer = yield report
        if answer is STOP:
            return True
    return False


def pass_over(learner: Learner, train: Arrays, best: Best, learned: Learned, keeper: Keeper) -> Wish:
    """Learn from every row once, or from those that are left of an epoch.

    It ends early when the loss or a gradient is not finite, or when the run is asked to stop; the latter's state is
    kept. Returns what all workers agreed on in their last look.
    """
    learner.begin(best.epochs + 1)
    started, wish = time.monotonic(), Wish(save=False, stop=False, ask=False, stride=1)
    epoch, done = best.epochs + 1, learned.done
    for rows in order.batches(train, learner.config, epoch, steps=learner.steps, start=done):
        learner.step(train, rows, learned)
        keeper.beat()
        is_last = learned.done == learner.steps
        if not is_last and learned.done - learned.looked < wish.stride:
            continue
        wish = look(learned, learner.world, keeper)
        learned.seconds, started = learned.seconds + time.monotonic() - started, time.monotonic()
        if learned.bad_step is not None or is_last:
            break
        if wish.save:
            keep(learner, best, learned, keeper)
        if wish.stop:
            break
    return wish


def judge(learner: Learner, validation: Arrays, best: Best, learned: Learned) -> Epoch | None:
    """Validate an epoch and count it; None when the training left the real numbers with its last step."""
    number, objective = best.epochs + 1, learner.objective
    metrics = learned.metrics() | validate(learner.judged, validation, objective, learner.world)
    if problem := unjudged(metrics["validation_loss"], number, learner.steps):
        best.problem = problem
        return None
    learner.world.settle(learner.bare)  # validation has settled what it judged, perhaps an average
    require_in_step(learner.bare, learner.world, number)
    layers = learner.layers(learned)
    metrics |= {"learning_rate": learner.stepper.rate} | {f"grad_norm/{name}": norm for name, norm in layers.items()}
    rank = objective.rank(metrics)
    learner.stepper.hear(rank)
    return best.count(learner.judged, metrics, rank, step=number * learner.steps, warnings=unwell(layers))


def unjudged(loss: float, epoch: int, steps: int) -> str:
    """Say that validation left the real numbers, which no loss of the epoch has shown; empty when it did not."""
    if np.isfinite(loss):
        return ""
    return f"the validation loss is not finite after step {steps} of epoch {epoch}"


def keep(learner: Learner, best: Best, learned: Learned | None, keeper: Keeper) -> None:
    """Save all that the next step depends on; ``learned`` is what an epoch in its middle left so far."""
    tensors, facts = learner.state()
    kept, known = best.state()
    partial, counts = learned.state() if learned else ({}, {"done": 0})
    position = Position(best.epochs, int(counts["done"]))
    keeper.save(
        learner.world, position, {**tensors, **kept, **partial}, {"learner": facts, "best": known, "learned": counts}
    )


def resume(learner: Learner, best: Best, keeper: Keeper) -> Learned | None:
    """Go on from the newest whole checkpoint, if there is one; return what its epoch left so far."""
    found = keeper.start(learner.world)
    if found is None:
        return None
    position, state = found
    learner.restore(state.tensors, state.facts["learner"], where=str(position))
    best.restore(state.tensors, state.facts["best"])
    restore_random(state.tensors, learner.world)
    if not position.steps:
        return None
    return Learned.restored(state.tensors, state.facts["learned"], learner.world.device)


def look(learned: Learned, world: World, keeper: Keeper) -> Wish:
    """Add up all workers' losses since the last look, and hear what the first one wants of all."""
    new = slice(learned.looked, learned.done)
    wish = keeper.wish(world, learned.done - learned.looked)
    together = world.sum(torch.cat([learned.losses[new], wish]))
    learned.losses[new] = together[: -len(wish)]
    learned.look()
    return keeper.settle(Wish.of(together[-len(wish) :]))


def validate(module: nn.Module, validation: Arrays, objective: Objective, world: World) -> Metrics:
    """Return the loss and the deciding metric over all validation rows, the same on every worker."""
    world.settle(module)
    parts = np.array_split(np.arange(len(validation.numbers)), world.size)
    mine = slice(parts[world.rank][0], parts[world.rank][-1] + 1) if len(parts[world.rank]) else slice(0, 0)
    module.eval()
    raw = world.gather(forward(module, validation.rows(mine), objective.outputs))
    with torch.inference_mode():
        loss = objective.judging()(torch.from_numpy(raw), objective.targets(validation.target))
    score = objective.score(validation.target, objective.predictions(raw))
    return {"validation_loss": float(loss) / max(1, len(raw)), **score}


def agreed(world: World, *, stop: bool) -> bool:
    """Return the first worker's decision on every worker."""
    mine = torch.tensor(float(stop and world.rank == 0), device=world.device)
    return bool(world.sum(mine) > 0)

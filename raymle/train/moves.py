"""torch's optimizers over many networks at once: each row of a matrix is one network's weights.

Rates and decays are columns, one value for each row. What is computed is what torch's own optimizers compute.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

State = dict[str, Tensor]
"""What an optimizer remembers of each weight, ``[networks, weights]`` as the weights are; changed in place."""


class Pace(NamedTuple):
    """How far one step goes."""

    rate: Tensor
    """Learning rate of each network, ``[networks, 1]``."""
    decay: Tensor
    """Weight decay of each network, ``[networks, 1]``."""
    step: int
    """The step's number, from 1."""


Move = Callable[[Tensor, Tensor, State, Pace], None]
"""Move weights by a gradient, with the optimizer's state."""

BETAS = 0.9, 0.999
EPSILON = 1e-8
MOMENTUM = 0.9
SMOOTHING = 0.99
"""RMSprop's share of the squares so far."""
MEMORY = {
    "adamw": ("mean", "square"),
    "adam": ("mean", "square"),
    "sgd": ("velocity",),
    "rmsprop": ("square",),
}
"""Names of each optimizer's state."""


def fresh(kind: str, weights: Tensor) -> State:
    """Return the state before the first step."""
    return {name: torch.zeros_like(weights, requires_grad=False) for name in MEMORY[kind]}


def adamw(weights: Tensor, gradient: Tensor, state: State, pace: Pace) -> None:
    """Adam with decoupled decay (Loshchilov, Hutter 2019)."""
    weights.mul_(1 - pace.rate * pace.decay)
    _adaptive(weights, gradient, state, pace)


def adam(weights: Tensor, gradient: Tensor, state: State, pace: Pace) -> None:
    """Adam (Kingma, Ba 2015) with an L2 penalty."""
    _adaptive(weights, gradient.addcmul(weights, pace.decay), state, pace)


def sgd(weights: Tensor, gradient: Tensor, state: State, pace: Pace) -> None:
    """Stochastic gradient descent with momentum."""
    velocity = state["velocity"].mul_(MOMENTUM).add_(gradient).addcmul_(weights, pace.decay)
    weights.addcmul_(velocity, pace.rate, value=-1)


def rmsprop(weights: Tensor, gradient: Tensor, state: State, pace: Pace) -> None:
    """RMSprop (Hinton 2012)."""
    gradient = gradient.addcmul(weights, pace.decay)
    square = state["square"].mul_(SMOOTHING).addcmul_(gradient, gradient, value=1 - SMOOTHING)
    weights.sub_(gradient.div_(square.sqrt().add_(EPSILON)).mul_(pace.rate))


def _adaptive(weights: Tensor, gradient: Tensor, state: State, pace: Pace) -> None:
    """Move by the mean of the gradients over the root of the mean of their squares, both without their bias."""
    mean = state["mean"].lerp_(gradient, 1 - BETAS[0])
    square = state["square"].mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    root = square.sqrt().div_(math.sqrt(1 - BETAS[1] ** pace.step)).add_(EPSILON)
    weights.sub_(torch.div(mean, root).mul_(pace.rate / (1 - BETAS[0] ** pace.step)))


MOVES: dict[str, Move] = {"adamw": adamw, "adam": adam, "sgd": sgd, "rmsprop": rmsprop}

"""torch's optimizers and the learning rate's course, without torch's compiler.

An optimizer imports ``torch._dynamo``, 1.7 s in every process, only to switch it off for its own methods. Nothing
is compiled here, so its methods are called without those wrappers; what they compute is the same.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any, final

import torch
from torch import nn

from raymle.config.train import OptimizerConfig


@final
class Stepper:
    """Moves parameters by their gradients; one call is one step."""

    def __init__(self, parameters: list[nn.Parameter], config: OptimizerConfig, *, steps: int) -> None:
        self.parameters, self.config, self.steps = parameters, config, steps
        self.taken = 0
        self.rate = config.learning_rate
        self._optimizer = _make(parameters, config)
        self._step: Callable[..., Any] = inspect.unwrap(type(self._optimizer).step)

    @torch.no_grad()
    def step(self) -> None:
        """Take a step at the rate of the schedule, and forget the gradients."""
        self.rate = self.config.learning_rate * factor(self.config.schedule, self.taken / self.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate
        self._step(self._optimizer)
        self.taken += 1
        for parameter in self.parameters:
            parameter.grad = None


def factor(schedule: str, done: float) -> float:
    """Share of the learning rate when that share of the run is done."""
    return (1 + math.cos(math.pi * done)) / 2 if schedule == "cosine" else 1.0


def _make(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    _spare_compiler()
    settings: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    match config.type:
        case "adamw":
            return torch.optim.AdamW(parameters, fused=True, **settings)
        case "adam":
            return torch.optim.Adam(parameters, fused=True, **settings)
        case "sgd":
            return torch.optim.SGD(parameters, momentum=0.9, fused=True, **settings)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, **settings)


def _spare_compiler() -> None:
    """Leave the mark that torch leaves at its first call; without it all works, only later."""
    inner = getattr(torch.optim.Optimizer.add_param_group, "__wrapped__", None)
    if inner is not None and not hasattr(inner, "__dynamo_disable"):
        setattr(inner, "__dynamo_disable", inner)

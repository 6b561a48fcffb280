"""torch's optimizers and the learning rate's course, without torch's compiler.

An optimizer imports ``torch._dynamo``, 1.7 s in every process, only to switch it off for its own methods. Nothing
is compiled here, so its methods are called without those wrappers; what they compute is the same.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from raymle.config.train import OptimizerConfig

WARMUP = 0.1
"""Share of the steps that schedule ``warmup`` rises over when ``warmup`` is not given."""
PLATEAU_EPOCHS = 2
PLATEAU_FACTOR = 0.1
ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1e-4 / 25


@final
class Stepper:
    """Moves parameters by their gradients; one call is one step."""

    def __init__(
        self, parameters: list[nn.Parameter], config: OptimizerConfig, *, steps: int, rates: Sequence[float] = ()
    ) -> None:
        """Make a stepper.

        Args:
            parameters: What is moved; one without a gradient stays where it is.
            config: How.
            steps: Of the whole training.
            rates: Each parameter's share of the learning rate; empty moves all alike.
        """
        self.parameters, self.config, self.steps = parameters, config, steps
        self.taken = 0
        self.plateau = Plateau()
        self.rate = self._rate()
        self._optimizer = _make(_groups(parameters, rates or [1.0] * len(parameters)), config)
        self._step: Callable[..., Any] = inspect.unwrap(type(self._optimizer).step)

    @torch.no_grad()
    def step(self) -> None:
        """Take a step at the rate of the schedule, and forget the gradients."""
        self.rate = self._rate()
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate * group["share"]
        self._step(self._optimizer)
        self.taken += 1
        for parameter in self.parameters:
            parameter.grad = None

    def hear(self, rank: float) -> None:
        """Take how good an epoch was, higher is better; only schedule plateau listens."""
        if self.config.schedule == "plateau":
            self.plateau.hear(rank)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that the next step depends on, as tensors and as plain values."""
        state = self._optimizer.state
        tensors = {
            f"{place}/{name}": value
            for place, parameter in enumerate(self.parameters)
            for name, value in state[parameter].items()
            if isinstance(value, Tensor)
        }
        return tensors, {"taken": self.taken, "plateau": vars(self.plateau)}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        for name, value in tensors.items():
            place, _, key = name.partition("/")
            parameter = self.parameters[int(place)]
            stays = value.ndim == 0 and not self._optimizer.defaults.get("fused")  # where torch counts the steps
            self._optimizer.state[parameter][key] = value if stays else value.to(parameter.device)
        self.taken = facts["taken"]
        self.plateau = Plateau(**facts["plateau"])

    def _rate(self) -> float:
        share = factor(self.config.schedule, self.taken, self.steps, warmup=warmup_share(self.config))
        return self.config.learning_rate * share * self.plateau.factor


@final
class Plateau:
    """A tenth of the rate after each two epochs in which nothing got better."""

    def __init__(self, best: float | None = None, stale: int = 0, factor: float = 1.0) -> None:
        self.best, self.stale, self.factor = best, stale, factor

    def hear(self, rank: float) -> None:
        """Count an epoch."""
        if self.best is None or rank > self.best:
            self.best, self.stale = rank, 0
            return
        self.stale += 1
        if self.stale >= PLATEAU_EPOCHS:
            self.factor, self.stale = self.factor * PLATEAU_FACTOR, 0


def factor(schedule: str, taken: int, steps: int, *, warmup: float = 0.0) -> float:
    """Share of the learning rate for the next step, after so many of all the steps are taken.

    First it rises linearly over the share ``warmup`` of the steps. Then cosine falls to 0 (Loshchilov, Hutter 2017);
    one_cycle rises from a 25th and falls to a 250,000th, both along a cosine (Smith, Topin 2018, torch's figures).
    """
    rise = warmup * steps
    if taken < rise:
        return min(1.0, (taken + 1) / rise)
    taken, steps = taken - int(rise), steps - int(rise)
    if schedule == "cosine":
        return _cosine(1.0, 0.0, taken / steps)
    if schedule == "one_cycle":
        top, last = ONE_CYCLE_RISE * steps - 1, steps - 1
        if taken <= top:
            return _cosine(ONE_CYCLE_START, 1.0, taken / max(top, 1e-9))
        return _cosine(1.0, ONE_CYCLE_END, (taken - top) / (last - top))
    return 1.0


def warmup_share(config: OptimizerConfig) -> float:
    """Return the share of all steps over which the rate rises."""
    return config.warmup or (WARMUP if config.schedule == "warmup" else 0.0)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2


def _groups(parameters: list[nn.Parameter], rates: Sequence[float]) -> list[dict[str, Any]]:
    """Put together what has the same share of the learning rate."""
    found: dict[float, list[nn.Parameter]] = {}
    for parameter, rate in zip(parameters, rates, strict=True):
        found.setdefault(rate, []).append(parameter)
    return [{"params": group, "share": rate} for rate, group in found.items()]


def _make(parameters: list[dict[str, Any]], config: OptimizerConfig) -> torch.optim.Optimizer:
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

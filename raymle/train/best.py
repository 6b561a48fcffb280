"""The best weights of a training so far, and what its epochs reported."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import numpy as np
from torch import Tensor, nn

from raymle.config.train import TrainConfig
from raymle.records import Epoch, Metrics

STOP, SAVE = True, False
"""What the caller of a training may answer to a report, besides None: end with the best weights; keep a checkpoint,
and report the same epoch again."""


class Weighty(Protocol):
    """What has weights: a module, or one network of a stack."""

    def state_dict(self) -> dict[str, Any]:
        """Return the weights by their names."""


@final
@dataclass
class Best:
    """The best weights so far, and how the training ended."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    epoch: int = 0
    epochs: int = 0
    metrics: Metrics = field(default_factory=dict)
    rank: float = float("-inf")
    reports: list[Epoch] = field(default_factory=list)
    """Every epoch's, in order."""
    problem: str = ""
    """Why the training had to stop; empty when it did not."""
    is_stopped: bool = False
    """Whether it was asked to stop before its end; its state is kept."""
    workers: int = 1
    """How many workers trained at the end."""
    warnings: tuple[str, ...] = ()
    """What the gradients of the first epoch in which they were unwell looked like."""

    def take(self, module: Weighty, metrics: Metrics, rank: float) -> bool:
        """Count an epoch, keep its weights if they are better, and say whether they are.

        Of epochs with the same rank the one with the lower validation loss is better: with few rows many are alike.
        """
        self.epochs += 1
        if np.isnan(rank) or (rank, -_loss(metrics)) <= (self.rank, -_loss(self.metrics)):
            return False
        self.weights = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
        self.epoch, self.metrics, self.rank = self.epochs, metrics, rank
        return True

    def give(self, module: nn.Module) -> bool:
        """Put the best weights into a network, and say whether there are any."""
        if self.weights:
            module.load_state_dict(self.weights)
        return bool(self.weights)

    def count(self, module: Weighty, metrics: Metrics, rank: float, *, step: int, warnings: list[str]) -> Epoch:
        """Count an epoch that ended with a step, and return its report; the first one's warnings are kept."""
        is_best = self.take(module, metrics, rank)
        self.warnings = self.warnings or tuple(f"epoch {self.epochs}: {text}" for text in warnings)
        report = Epoch(epoch=self.epochs, step=step, metrics=metrics, best=is_best)
        self.reports.append(report)
        return report

    def add(self, warnings: list[str]) -> None:
        """Keep warnings beside those that are there."""
        self.warnings = (*self.warnings, *warnings)

    def is_stale(self, config: TrainConfig) -> bool:
        """Whether early stopping's patience is over."""
        stopping = config.early_stopping
        return stopping is not None and self.epochs - self.epoch >= stopping.patience

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all of it, as tensors and as plain values."""
        facts = {name: getattr(self, name) for name in ("epoch", "epochs", "metrics", "rank", "warnings")}
        reports = [report.model_dump() for report in self.reports]
        return {f"best/{name}": value for name, value in self.weights.items()}, {**facts, "reports": reports}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self.weights = {
            name.removeprefix("best/"): value for name, value in tensors.items() if name.startswith("best/")
        }
        for name in ("epoch", "epochs", "metrics", "rank"):
            setattr(self, name, facts[name])
        self.warnings = tuple(facts["warnings"])
        self.reports = [Epoch.model_validate(report) for report in facts["reports"]]


def _loss(metrics: Metrics) -> float:
    return metrics.get("validation_loss", float("inf"))

"""What a training aims at: targets, losses and scores of one task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from raymle.errors import SpecError
from raymle.measure import metrics
from raymle.model.bundle import softmax
from raymle.records import Metrics, Schema
from raymle.train.check import LOSSES

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": functional.cross_entropy,
    "squared_error": functional.mse_loss,
    "absolute_error": functional.l1_loss,
    "huber": functional.huber_loss,
}


@final
@dataclass(frozen=True)
class Objective:
    """The task, its loss, the metric that decides, and the target's scale; plain values, so it pickles."""

    task: Literal["classification", "regression"]
    metric: str
    loss: str = "auto"
    outputs: int = 1
    positive: int | None = None
    mean: float = 0.0
    std: float = 1.0

    def targets(self, target: npt.NDArray[Any]) -> Tensor:
        """Return class indices, or standardised numbers, as a network learns them."""
        if self.task == "classification":
            return torch.from_numpy(np.array(target, np.int64))
        return torch.from_numpy(((target - self.mean) / self.std).astype(np.float32))

    def loss_sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss summed over the rows, so that workers can add theirs up."""
        function = FUNCTIONS[LOSSES[self.task][0] if self.loss == "auto" else self.loss]
        rows = outputs.float() if self.task == "classification" else outputs.float().squeeze(1)
        return function(rows, targets, reduction="sum")

    def predictions(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return probabilities, or numbers in the target's own units."""
        if self.task == "classification":
            return softmax(raw)
        return raw.reshape(-1).astype(np.float64) * self.std + self.mean

    def score(self, target: npt.NDArray[Any], predicted: npt.NDArray[np.float64]) -> Metrics:
        """Return the deciding metric; nothing where the rows do not define it."""
        return metrics.compute(self.task, np.asarray(target), predicted, positive_index=self.positive, only=self.metric)

    def rank(self, values: Metrics) -> float:
        """Return how good an epoch is, higher is better; without the metric its loss decides."""
        value = values.get(self.metric)
        if value is None:
            return -values.get("validation_loss", np.inf)
        return value if metrics.higher_is_better(self.metric) else -value


def of(schema: Schema, metric: str, loss: str, *, mean: float, std: float) -> Objective:
    """Make the objective of a schema's task.

    Raises:
        SpecError: the loss does not belong to the task.
    """
    known = LOSSES[schema.task]
    if loss != "auto" and loss not in known:
        raise SpecError(f"train.loss {loss!r} is not a loss for {schema.task}", hint=f"use auto or {', '.join(known)}")
    positive = None
    if len(schema.classes) == 2:
        positive = schema.classes.index(schema.positive) if schema.positive in schema.classes else 1
    outputs = max(1, len(schema.classes))
    return Objective(schema.task, metric, loss, outputs, positive, mean=mean, std=std)

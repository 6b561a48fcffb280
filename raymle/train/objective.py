"""What a training aims at: targets, losses and scores of one task."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from raymle.config.train import TrainConfig
from raymle.data import own as users
from raymle.errors import SpecError
from raymle.measure import metrics, threshold
from raymle.model.bundle import softmax
from raymle.records import Metrics, Schema
from raymle.train.check import LOSSES

Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs ``[n, outputs]`` and targets ``[n]`` to the loss summed over the rows, or to each row's."""
Reduction = Literal["sum", "none"]
LEAST = 1e-15
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
    smoothing: float = 0.0
    """Share of each label that is spread over all classes while learning."""
    weights: tuple[float, ...] = ()
    """Weight of each class while learning; none weighs all alike."""
    folder: str = "."
    """Where the user's own loss is imported from."""
    anomaly: bool = False
    """Whether nothing is learned from rows of the second class, and outputs say how unusual a row is."""

    def targets(self, target: npt.NDArray[Any]) -> Tensor:
        """Return class indices, or standardised numbers, as a network learns them."""
        if self.task == "classification":
            return torch.from_numpy(np.array(target, np.int64))
        return torch.from_numpy(((target - self.mean) / self.std).astype(np.float32))

    def judging(self, reduction: Reduction = "sum") -> Loss:
        """Return the plain loss, by which epochs are compared; each row's when nothing is to reduce it."""
        if ":" in self.loss:
            return _own(self.loss, self.folder, reduction)
        if self.anomaly:
            return partial(reconstruction, reduction=reduction)
        function = FUNCTIONS[LOSSES[self.task][0] if self.loss == "auto" else self.loss]
        if self.task == "classification":
            return lambda outputs, targets: function(wide(outputs), targets, reduction=reduction)
        return lambda outputs, targets: function(wide(outputs).squeeze(1), targets, reduction=reduction)

    def learning(self, device: torch.device, reduction: Reduction = "sum") -> Loss:
        """Return the loss that is learned from: with class weights and smoothed labels, if any."""
        if not self.smoothing and not self.weights:
            return self.judging(reduction)
        weights = torch.tensor(self.weights, device=device) if self.weights else None

        def weighed(outputs: Tensor, targets: Tensor) -> Tensor:
            outputs = wide(outputs)
            weight = None if weights is None else weights.to(outputs.dtype)
            return functional.cross_entropy(
                outputs, targets, weight=weight, label_smoothing=self.smoothing, reduction=reduction
            )

        return weighed

    def predictions(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return probabilities, or numbers in the target's own units."""
        if self.task == "classification":
            return softmax(raw)
        return raw.reshape(-1).astype(np.float64) * self.std + self.mean

    def score(self, target: npt.NDArray[Any], predicted: npt.NDArray[np.float64]) -> Metrics:
        """Return the deciding metric; nothing where the rows do not define it."""
        if self.anomaly:
            predicted = from_threshold(predicted, np.asarray(target) == 1)
        return metrics.compute(self.task, np.asarray(target), predicted, positive_index=self.positive, only=self.metric)

    def rank(self, values: Metrics) -> float:
        """Return how good an epoch is, higher is better; without the metric its loss decides."""
        value = values.get(self.metric)
        if value is None:
            return -values.get("validation_loss", np.inf)
        return value if metrics.higher_is_better(self.metric) else -value


def reconstruction(outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    """Return the error of what is usual; outputs ``[n, 2]`` are 0 and the error's logarithm.

    Anomalies count 0: what is known to be one is not to be made again.
    """
    outputs = wide(outputs)
    errors = (outputs[:, 1] - outputs[:, 0]).exp() * (targets == 0)
    return errors.sum() if reduction == "sum" else errors


def from_threshold(predicted: npt.NDArray[np.float64], odd: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return probabilities whose half is at the best threshold, as it will be once the training is over."""
    chance = np.clip(predicted[:, 1], LEAST, 1 - LEAST)
    scores = np.log(chance) - np.log1p(-chance)
    moved = 1 / (1 + np.exp(threshold.best(scores, odd).value - scores))
    return np.column_stack([1 - moved, moved])


def wide(outputs: Tensor) -> Tensor:
    """Return outputs of at least 32 bits."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


def of(
    schema: Schema, metric: str, train: TrainConfig, *, mean: float, std: float, counts: npt.NDArray[Any], folder: str
) -> Objective:
    """Make the objective of a schema's task.

    Args:
        schema: Its task and classes.
        metric: Decides which epoch is best.
        train: Which loss, and how it is weighed.
        mean: Of the target, in its own units.
        std: Of the target.
        counts: Train rows of each class.
        folder: Where the user's own loss is.

    Raises:
        SpecError: the loss or the weights do not belong to the task.
    """
    known = LOSSES["anomaly" if schema.anomaly else schema.task]
    if ":" not in train.loss and train.loss not in {"auto", *known}:
        hint = f"use auto or {', '.join(known)}, or your own as module:function"
        raise SpecError(f"train.loss {train.loss!r} is not a loss for {schema.kind}", hint=hint)
    positive = None
    if len(schema.classes) == 2:
        positive = schema.classes.index(schema.positive) if schema.positive in schema.classes else 1
    outputs = max(1, len(schema.classes))
    return Objective(
        schema.task, metric, train.loss, outputs, positive, mean=mean, std=std,
        smoothing=train.label_smoothing, weights=_weights(train, schema, counts), folder=folder,
        anomaly=schema.anomaly,
    )  # fmt: skip


def _weights(train: TrainConfig, schema: Schema, counts: npt.NDArray[Any]) -> tuple[float, ...]:
    """Return the weight of each class in the schema's order; none when all weigh alike."""
    given = train.class_weights
    if (given is not None or train.label_smoothing) and schema.anomaly:
        raise SpecError("train.class_weights and train.label_smoothing are for labels, and anomalies are found without")
    if (given is not None or train.label_smoothing) and schema.task != "classification":
        raise SpecError("train.class_weights and train.label_smoothing are for classes, and the target is a number")
    if (given is not None or train.label_smoothing) and train.loss not in {"auto", "cross_entropy"}:
        raise SpecError(f"train.class_weights and train.label_smoothing go with cross entropy, not with {train.loss}")
    if given is None:
        return ()
    if given == "balanced":  # scikit-learn's rule; a class without train rows cannot be weighed
        return tuple((counts.sum() / (len(counts) * np.maximum(counts, 1))).tolist())
    strange = [name for name in given if name not in schema.classes]
    if strange:
        raise SpecError(
            f"train.class_weights: {strange[0]!r} is not a class of {schema.target!r}",
            hint=f"the classes are {', '.join(schema.classes[:10])}",
        )
    return tuple(float(given.get(name, 1.0)) for name in schema.classes)


def _own(reference: str, folder: str, reduction: Reduction) -> Loss:
    """Return the user's loss, which gives one value for each row."""
    function = users.function(reference, folder)

    def checked(outputs: Tensor, targets: Tensor) -> Tensor:
        losses = function(wide(outputs), targets)
        if not isinstance(losses, Tensor) or losses.shape != (len(outputs),):
            shape = list(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise SpecError(
                f"train.loss {reference} gives {shape} for {len(outputs)} rows, not one loss for each",
                hint="leave the mean out: reduction='none'",
            )
        return losses.sum() if reduction == "sum" else losses

    return checked

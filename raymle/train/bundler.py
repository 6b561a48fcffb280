"""What all networks on the same splits have in common, and how a bundle is made of one that is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, final

import numpy as np
import numpy.typing as npt
from torch import nn

from raymle import model as models
from raymle.config.model import ModelConfig
from raymle.config.train import TrainConfig
from raymle.data import own, shards
from raymle.data.transform import Transform
from raymle.errors import WorkError
from raymle.model import Contents
from raymle.records import Fitted, Metrics, Splits
from raymle.train.best import Best
from raymle.train.check import takes
from raymle.train.objective import Objective, of
from raymle.train.task import threads

if TYPE_CHECKING:
    from lightgbm import Booster


@final
@dataclass(frozen=True)
class Bundler:
    """Makes bundles; all but the network is read before anything is trained."""

    contents: Contents
    objective: Objective
    transform: Transform
    code: own.Sources
    """The user's own code as it was then: it may be edited while a model trains."""

    @classmethod
    def of(
        cls,
        train: TrainConfig,
        model: ModelConfig,
        splits: Splits,
        *,
        metric: str,
        folder: str,
        transforms: Sequence[str] = (),
    ) -> Self:
        """Read what a training on these splits needs besides their rows; the arguments are those of ``fit``."""
        transform, schema = shards.load_transform(splits), splits.data_schema
        takes(model, transform, folder=folder)
        objective = of(
            schema, metric, train, mean=transform.target_mean, std=transform.target_std,
            counts=_counts(splits), folder=folder,
        )  # fmt: skip
        contents = Contents(
            data_schema=schema,
            model=models.packed(model, folder),
            inputs=transform.inputs,
            outputs=objective.outputs,
            transforms=tuple(transforms),
        )
        return cls(contents, objective, transform, own.sources(contents.references, folder))

    def save(self, out: Path, network: "nn.Module | Booster", metrics: Metrics) -> None:
        """Write the bundle of a trained network."""
        keep = self.contents.model_copy(update={"metrics": metrics})
        models.save(out, keep, transform=self.transform, network=network, code=self.code)

    def finish(self, module: nn.Module, best: Best, train: TrainConfig, out: Path) -> Fitted:
        """Say how a network, which has its best weights, was trained; the bundle is yet to be saved.

        Raises:
            WorkError: the training had to stop; its last good weights are kept beside the bundle's place.
        """
        if best.problem:
            raise self._stopped(module, best, out.with_name("last-good"))
        weights = sum(weight.numel() for weight in module.parameters())
        return Fitted(
            bundle="", parameters=weights, epochs=best.epochs, best_epoch=best.epoch, seconds=0,
            metrics=best.metrics, workers=best.workers, threads=threads(train), warnings=best.warnings,
        )  # fmt: skip

    def _stopped(self, module: nn.Module, best: Best, out: Path) -> WorkError:
        """Keep the weights of the best epoch, if there was one, and say where they are."""
        hint = "lower train.optimizer.learning_rate, or look for extreme values with `raymle data show`"
        if not best.weights:
            return WorkError(f"training stopped: {best.problem}", hint=hint)
        self.save(out, module, best.metrics)
        where = f"the weights of epoch {best.epoch} are in {out}"
        return WorkError(f"training stopped: {best.problem}; {where}", hint=hint)


def _counts(splits: Splits) -> "npt.NDArray[np.int64]":
    """Return the train rows of each class; nothing for numbers."""
    classes = len(splits.data_schema.classes)
    if not classes:
        return np.zeros(0, np.int64)
    return np.bincount(shards.load(splits, "train").target, minlength=classes)

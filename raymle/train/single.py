"""One training as a stack of one: bit for bit what it was among others, which one of its own loop is not."""

from collections.abc import Generator, Sequence
from pathlib import Path

from raymle.config.model import ModelConfig
from raymle.config.train import TrainConfig
from raymle.data import shards
from raymle.errors import WorkError
from raymle.records import Epoch, Fitted, Splits
from raymle.train import stacked
from raymle.train.best import STOP


def fit(
    train: TrainConfig,
    model: ModelConfig,
    splits: Splits,
    *,
    metric: str,
    folder: str,
    out: Path,
    storage: str = "",
    transforms: Sequence[str] = (),
) -> Generator[Epoch, bool | None, Fitted]:
    """Train one model as ``trainer.fit`` does, by the arithmetic of a stack.

    Raises:
        WorkError: the training had to stop.
    """
    member = stacked.Member(train, model, out)
    epochs = stacked.fit([member], shards.here(splits, storage), metric=metric, folder=folder, transforms=transforms)
    stopping: set[int] | None = None
    while True:
        told = epochs.send(stopping)
        if 0 in told.reports:
            stopping = {0} if (yield told.reports[0]) is STOP else None
        end = told.ends.get(0)
        if isinstance(end, Fitted):
            return end
        if end:
            raise WorkError(end)

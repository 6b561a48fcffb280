"""The threshold of an anomaly's score, put into the network once it is trained."""

import numpy as np
from torch import nn

from raymle.data import shards
from raymle.measure.threshold import best
from raymle.model.network import forward
from raymle.train.task import Task


def settle(module: nn.Module, task: Task) -> tuple[str, ...]:
    """Move the threshold of a trained network to where it is best on validation rows; return what there is to tell."""
    validation = shards.load(shards.here(task.splits, task.storage), "validation")
    raw = forward(module.eval(), validation.rows(slice(None)), task.objective.outputs)
    found = best(raw[:, 1] - raw[:, 0], np.asarray(validation.target) == 1)
    module.get_submodule("verdict").move(found.value, found.scale)  # type: ignore[operator]
    return found.told

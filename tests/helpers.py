"""What tests of several kinds look at."""

import psutil
import pyarrow as pa

from raymle import train
from raymle.config import ModelConfig, TrainConfig
from raymle.config.amount import settled
from raymle.evaluate import unseal
from raymle.store import open_store
from raymle.train import checkpoint

FAILING_NET = """
import torch
class Net(torch.nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(outputs))
    def forward(self, numbers, categories):
        if len(numbers) > 2:  # two rows are what it is tried on before anything starts
            raise ValueError('a shape that does not fit')
        return self.bias.expand(len(numbers), -1)
def make(inputs, outputs): return Net(outputs)
"""


def train_config(rows=1000, **values):
    """Return train settings with nothing left to the rows."""
    return settled(TrainConfig.model_validate(values), ModelConfig(), rows)


def sealed(store, splits):
    """Return the sealed rows as they are in the source, with their identity and content."""
    found = unseal._open(store, splits.id, question="")
    rows = pa.concat_tables(found.parts, promote_options="permissive") if found.parts else pa.table({})
    return rows.append_column("__identity", pa.array(found.identity)).append_column(
        "__content", pa.array(found.content)
    )


def fit(splits, out, folder=".", kind="mlp", params=None, **values):
    config = TrainConfig.model_validate({"epochs": 3, "batch_size": 128, "early_stopping": None} | values)
    params = {"hidden": [16], "dropout": 0.0} if params is None else params
    epochs = train.fit(
        config, ModelConfig(type=kind, params=params), splits, metric="roc_auc", folder=str(folder), out=out
    )
    return drain(epochs)


def drain(epochs):
    """Return every epoch's report, and what the training returns at its end."""
    reports = []
    while True:
        try:
            reports.append(next(epochs))
        except StopIteration as end:
            return reports, end.value


def until_kept(epochs, storage, run):
    """Return the reports until the run has a checkpoint: there is none in the first second."""
    reports = []
    while not checkpoint.positions(open_store(storage), checkpoint.folder_of(run)):
        reports.append(next(epochs))
    return reports


def workers():
    """Return the processes of the workers that train now."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.name().startswith("ray::RayTrainW")]

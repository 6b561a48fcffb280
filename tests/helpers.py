"""What tests of several kinds look at."""

import pyarrow as pa

from raymle import train
from raymle.config import ModelConfig, TrainConfig
from raymle.evaluate import unseal


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
    reports = []
    while True:
        try:
            reports.append(next(epochs))
        except StopIteration as end:
            return reports, end.value

"""A linear model with weights that nobody trained, and rows for it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from raymle.config import DataConfig, ModelConfig, SplitConfig
from raymle.data import own, prepare
from raymle.data.shards import load_transform
from raymle.model.build import build
from raymle.model.bundle import Contents, save
from raymle.store import open_store


def rows(count: int, key: str = "id") -> pa.Table:
    draw = np.random.default_rng(0)
    return pa.table({
        key: [f"c{each}" for each in range(count)],
        "amount": pa.array(draw.normal(5, 2, count), mask=draw.random(count) < 0.1),
        "plan": draw.choice(["basic", "pro", "unseen"], count).tolist(),
    })  # fmt: skip


def make(folder: Path, *, target=("no", "yes"), transforms=(), key="id", columns=None) -> Path:
    """Save a model of the rows, with more columns of one value, and return its folder."""
    count = 100 * len(target)
    table = rows(count, key).append_column("churned", pa.array(list(target) * 100))
    for name, value in (columns or {}).items():
        table = table.append_column(name, pa.array([value] * count))
    data = DataConfig(source="none", target="churned", key=(key,), transforms=transforms)
    splits = prepare(data, SplitConfig(), open_store(str(folder)), folder=str(folder), source=table)
    transform, schema, model = load_transform(splits), splits.data_schema, ModelConfig(type="linear")
    inputs, outputs = transform.inputs, len(schema.classes) or 1
    contents = Contents(data_schema=schema, model=model, inputs=inputs, outputs=outputs, transforms=transforms)
    torch.manual_seed(0)
    network = build(model, inputs, outputs)
    for weights in network.parameters():
        torch.nn.init.normal_(weights)
    code = own.sources(transforms, folder)
    return save(folder / "bundle", contents, transform=transform, network=network, code=code)

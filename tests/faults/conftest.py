"""A prepared table whose training by several workers lasts long enough to be disturbed."""

import numpy as np
import pyarrow as pa
import pytest

from raymle import data
from raymle.config import DataConfig, SplitConfig
from raymle.store import open_store


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return str(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def splits(storage):
    draw = np.random.default_rng(0)
    numbers = {f"x{place}": draw.normal(size=4000) for place in range(6)}
    target = np.where(numbers["x0"] * numbers["x1"] + numbers["x2"] > 0, "yes", "no")
    table = pa.table({**numbers, "target": target})
    config = DataConfig(source="memory", target="target")
    return data.prepare(config, SplitConfig(), open_store(storage), folder=".", source=table)

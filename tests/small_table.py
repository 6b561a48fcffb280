"""A small prepared table for trainings of several workers."""

import numpy as np
import pyarrow as pa
import pytest

from raymle import data
from raymle.config import DataConfig, SplitConfig
from raymle.store import open_store


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    draw = np.random.default_rng(0)
    number, colour = draw.normal(size=2000), draw.choice(["red", "green"], 2000)
    target = np.where(number + (colour == "red") > 0.5, "yes", "no")
    table = pa.table({"number": number, "colour": colour, "target": target})
    store = open_store(str(tmp_path_factory.mktemp("runs")))
    return data.prepare(DataConfig(source="memory", target="target"), SplitConfig(), store, folder=".", source=table)

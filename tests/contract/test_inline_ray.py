"""Inline and on Ray: the same splits, and the same weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers import sealed
from small_images import folder_of

import raymle
from raymle import runtime
from raymle.config import DataConfig, SplitConfig
from raymle.data import prepare, shards
from raymle.errors import DataError
from raymle.records import Splits
from raymle.store import Store, open_store

ROWS = 3000
METHODS = [
    {"method": "hash"},
    {"method": "stratified", "seed": 3},
    {"method": "group"},
    {"method": "time"},
    {"method": "column", "by": "part"},
]


def table() -> pa.Table:
    draw = np.random.default_rng(0)
    size = draw.normal(3, 2, ROWS)
    return pa.table(
        {
            "size": pa.array(size, mask=draw.random(ROWS) < 0.1),
            "count": draw.integers(0, 2**60, ROWS),
            "colour": pa.array(draw.choice(["red", "green", "blue"], ROWS), mask=draw.random(ROWS) < 0.1),
            "when": pa.array(draw.integers(0, 10**9, ROWS) * 10**6, pa.timestamp("us")),
            "patient": draw.integers(0, 400, ROWS),
            "part": draw.choice(["train", "validation", "test"], ROWS, p=[0.6, 0.2, 0.2]),
            "late": np.where(size + draw.normal(size=ROWS) > 3, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def ray() -> Any:
    with runtime.connected(runtime.local("test")):
        yield


def made(folder: Path, source: Any, split: dict[str, Any], *, on_ray: bool) -> tuple[Store, Splits]:
    store = open_store(str(folder / ("ray" if on_ray else "inline")))
    data = DataConfig(source="given", target="late", group="patient", time="when")
    return store, prepare(
        data, SplitConfig.model_validate(split), store, folder=str(folder), source=source, on_ray=on_ray
    )


def compare(inline: tuple[Store, Splits], other: tuple[Store, Splits]) -> None:
    mine, theirs = inline[1], other[1]
    assert theirs.model_dump(exclude={"path", "distribution"}) == mine.model_dump(exclude={"path", "distribution"})
    for a, b in zip(mine.distribution, theirs.distribution, strict=True):
        assert (a.column, a.split) == (b.column, b.split)
        assert [b.psi, b.statistic, b.p_value] == pytest.approx([a.psi, a.statistic, a.p_value], abs=1e-9)
    one, another = shards.load_transform(mine), shards.load_transform(theirs)
    assert (another.categories, another.classes) == (one.categories, one.classes)
    for a, b in zip(one.numbers, another.numbers, strict=True):
        assert (b.column, b.part, b.flagged) == (a.column, a.part, a.flagged)
        assert [b.mean, b.std, b.fill] == pytest.approx([a.mean, a.std, a.fill], rel=1e-9)
    for side in ("train", "validation"):
        a, b = shards.load(mine, side), shards.load(theirs, side)  # type: ignore[arg-type]
        np.testing.assert_array_equal(b.codes[b.order], a.codes[a.order])
        np.testing.assert_array_equal(b.target[b.order], a.target[a.order])
        np.testing.assert_allclose(b.numbers[b.order], a.numbers[a.order], rtol=1e-6, atol=1e-6)
    mine, theirs = (sealed(*each).sort_by("__identity") for each in (inline, other))
    assert theirs.equals(mine)


@pytest.mark.parametrize("split", METHODS, ids=lambda split: split["method"])
def test_ray_data_prepares_what_the_process_itself_does(ray: Any, tmp_path: Path, split: dict[str, Any]) -> None:
    (tmp_path / "parts").mkdir()
    for place in range(3):
        pq.write_table(table().slice(place * 1000, 1000), tmp_path / "parts" / f"{place}.parquet", row_group_size=400)
    source = str(tmp_path / "parts")
    compare(made(tmp_path, source, split, on_ray=False), made(tmp_path, source, split, on_ray=True))


def test_a_table_is_prepared_alike(ray: Any, tmp_path: Path) -> None:
    split = {"method": "hash"}
    compare(made(tmp_path, table(), split, on_ray=False), made(tmp_path, table(), split, on_ray=True))


def test_a_folder_of_images_is_prepared_alike(ray: Any, tmp_path: Path) -> None:
    folder_of(tmp_path / "shapes", 60)
    data, split = DataConfig(source="shapes", target="label"), SplitConfig(method="stratified")
    inline, other = (
        prepare(data, split, open_store(str(tmp_path / place)), folder=str(tmp_path), on_ray=place == "ray")
        for place in ("inline", "ray")
    )
    assert (other.rows, other.fingerprints, other.warnings) == (inline.rows, inline.fingerprints, inline.warnings)
    for side in ("train", "validation"):
        a, b = shards.load(inline, side), shards.load(other, side)  # type: ignore[arg-type]
        np.testing.assert_array_equal(b.rows(b.order).pixels, a.rows(a.order).pixels)
        np.testing.assert_array_equal(b.target[b.order], a.target[a.order])
    (tmp_path / "shapes" / "bar" / "empty.png").write_bytes(b"")
    for place in ("inline", "ray"):
        store = open_store(str(tmp_path / place))
        with pytest.raises(DataError, match=r"bar/empty\.png is empty"):
            prepare(data, split, store, folder=str(tmp_path), on_ray=place == "ray")


def test_what_is_wrong_with_a_row_is_the_same_error(ray: Any, tmp_path: Path) -> None:
    source = table().set_column(6, "late", pa.array([None, *["yes", "no"] * (ROWS // 2 - 1), "yes"]))
    found = []
    for on_ray in (False, True):
        with pytest.raises(Exception, match="late") as raised:
            made(tmp_path, source, {"method": "hash"}, on_ray=on_ray)
        found.append(f"{raised.type.__name__}: {raised.value}")
    assert found[0] == found[1]


def test_a_trial_ends_at_the_weights_that_training_in_this_process_does(ray: Any, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    size, colour = draw.normal(size=1500), draw.choice(["red", "green"], 1500)
    late = np.where(size + (colour == "red") > 0.5, "yes", "no")
    experiment = raymle.Experiment(
        name="same", data=pa.table({"size": size, "colour": colour, "late": late}), target="late",
        storage=str(tmp_path), model={"params": {"hidden": [16], "dropout": 0.2}},
        train={"epochs": 3, "batch_size": 128}, tune={"algorithm": "grid", "scheduler": "none"},
    )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as many as a trial's actor has
    try:
        alone = experiment.train(train__optimizer__learning_rate=0.01, cluster__address="inline")
    finally:
        torch.set_num_threads(threads)
    trial = experiment.tune(**{"tune__space__train.optimizer.learning_rate": {"choice": [0.01]}})
    assert (alone.record.execution, trial.record.execution) == ("inline", "ray")
    assert alone.record.splits_id == trial.record.splits_id
    weights = [(run.bundle / "weights.safetensors").read_bytes() for run in (alone, trial)]
    assert weights[0] == weights[1]

"""Prepared splits of files: formats, block sizes, killed drafts, odd sizes."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from helpers import sealed

from raymle.config import DataConfig, SplitConfig
from raymle.data import prepare, shards
from raymle.data.blocks import Blocks
from raymle.records import Splits
from raymle.store import Store, open_store

ROWS = 1200


def table(rows: int = ROWS) -> pa.Table:
    draw = np.random.default_rng(4)
    size = draw.normal(3, 2, rows)
    return pa.table(
        {
            "size": pa.array(size, mask=draw.random(rows) < 0.1),
            "count": draw.integers(0, 1000, rows),
            "zip": pa.array([f"0{number}" for number in draw.integers(100, 200, rows)]),
            "colour": pa.array(draw.choice(["red", "green", "blue"], rows), mask=draw.random(rows) < 0.1),
            "open": pa.array((draw.random(rows) < 0.5).tolist()),
            "when": pa.array(draw.integers(0, 10**9, rows) * 10**6, pa.timestamp("us")),
            "late": np.where(size + draw.normal(size=rows) > 3, "yes", "no"),
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def made(store: Store, source: Any, seed: int = 0, **split: Any) -> Splits:
    data = DataConfig(source="given", target="late")
    return prepare(data, SplitConfig.model_validate({"seed": seed, **split}), store, folder=".", source=source)


def test_csv_instead_of_parquet_and_several_files_seal_the_same_rows(store: Store, tmp_path: Path) -> None:
    source = table()
    pq.write_table(source, tmp_path / "rows.parquet")
    pa.csv.write_csv(source, tmp_path / "rows.csv")
    (tmp_path / "parts").mkdir()
    for place, start in enumerate((700, 0)):
        pq.write_table(source.slice(start, 700 if not start else ROWS), tmp_path / "parts" / f"{place}.parquet")
    names = ["rows.parquet", "rows.csv", "parts"]
    found = [made(store, str(tmp_path / name)) for name in names]
    assert len({each.fingerprints["test"] for each in found}) == 1
    contents = [sorted(sealed(store, each)["__content"].to_pylist()) for each in found]
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize("method", ["hash", "stratified", "time"])
def test_the_size_of_a_block_changes_nothing(store: Store, monkeypatch: Any, tmp_path: Path, method: str) -> None:
    config = {"method": method}
    data = DataConfig(source="given", target="late", time="when" if method == "time" else None)
    whole = prepare(data, SplitConfig.model_validate(config), store, folder=".", source=table())
    monkeypatch.setattr("raymle.data.blocks.ROWS", 77)
    other = open_store(str(tmp_path / "other"))
    parts = prepare(data, SplitConfig.model_validate(config), other, folder=".", source=table())
    assert parts.fingerprints == whole.fingerprints
    mine, theirs = shards.load_transform(parts), shards.load_transform(whole)
    assert mine.categories == theirs.categories
    for one, another in zip(mine.numbers, theirs.numbers, strict=True):
        assert [one.mean, one.std, one.fill] == pytest.approx([another.mean, another.std, another.fill], rel=1e-9)
    for side in ("train", "validation"):
        a, b = shards.load(parts, side), shards.load(whole, side)  # type: ignore[arg-type]
        np.testing.assert_array_equal(a.order, b.order)
        np.testing.assert_array_equal(a.codes, b.codes)
        np.testing.assert_allclose(a.numbers, b.numbers, rtol=1e-5, atol=1e-6)


class Killed(BaseException):
    """Stands for a process that ends at once."""


@pytest.mark.parametrize("place", ["raymle.data.prepare.commit", "raymle.data.shards.canonical_order"])
@pytest.mark.parametrize("calls", [0, 1])
def test_a_killed_draft_is_never_loaded(store: Store, monkeypatch: Any, place: str, calls: int) -> None:
    module, name = place.rsplit(".", 1)
    real = getattr(importlib.import_module(module), name)
    done: list[int] = []

    def killed(*args: Any, **named: Any) -> Any:
        if len(done) == calls:
            raise Killed
        done.append(1)
        return real(*args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(importlib.import_module(module), name, killed)
        patch.setattr("shutil.rmtree", lambda *args, **named: None)  # nothing is tidied up
        with pytest.raises(Killed):
            made(store, table())
    assert list(store.root.glob(".tmp-*"))
    again = made(store, table())
    assert not again.reused
    assert sealed(store, again).num_rows == again.rows["test"]
    assert made(store, table()).reused


def test_rows_are_gone_over_three_times_and_not_at_all_the_second_time(store: Store, monkeypatch: Any) -> None:
    passes: list[int] = []
    each = Blocks.each
    monkeypatch.setattr(Blocks, "each", lambda *args: (passes.append(1), each(*args))[1])
    assert not made(store, table()).reused
    assert len(passes) == 3
    assert made(store, table()).reused
    assert len(passes) == 3


@pytest.mark.parametrize("seed", range(3))
def test_every_seed_compares_all_sides_with_train(store: Store, seed: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(importlib.import_module("raymle.data.prepare"), "SAMPLE_ROWS", 50)
    found = made(store, table(), seed).distribution
    assert {each.split for each in found} == {"validation", "test"}
    assert all(each.p_value < 1 for each in found if each.column == "size")


def test_a_split_without_test_rows_has_an_empty_seal(store: Store) -> None:
    splits = made(store, table(), fractions={"train": 0.8, "validation": 0.2, "test": 0})
    assert splits.rows["test"] == sealed(store, splits).num_rows == 0
    assert made(store, table(), fractions={"train": 0.8, "validation": 0.2, "test": 0}).reused


def test_a_user_may_write_a_side_of_one_row(store: Store) -> None:
    source = table(6).append_column("part", pa.array(["train"] * 4 + ["validation", "test"]))
    source = source.set_column(source.column_names.index("late"), "late", pa.array(["a", "b"] * 3))
    splits = made(store, source, method="column", by="part")
    assert dict(splits.rows) == {"train": 4, "validation": 1, "test": 1}
    assert shards.load(splits, "validation").numbers.shape[0] == 1

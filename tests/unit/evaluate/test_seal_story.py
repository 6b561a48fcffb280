"""The seal against a user's own files: what a copy, a new order or another format of the same rows can reset (nothing)."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
import pytest

from raymle import data
from raymle.config import DataConfig, SplitConfig
from raymle.evaluate import unseal


def table(rows=600, first=0):
    rng = np.random.default_rng(1)
    everything = pa.table(
        {
            "id": pa.array(np.arange(5000), pa.int64()),
            "x": rng.normal(size=5000).round(4),
            "city": rng.choice(["Paris", "Lima", "Osaka"], 5000),
            "when": pa.array(rng.integers(0, 10**9, 5000) * 10**6 + 250_000, pa.timestamp("us")),
            "day": pa.array(rng.integers(0, 20_000, 5000), pa.int32()).cast(pa.date32()),
            "at": pa.array(rng.integers(0, 86_400, 5000), pa.int32()).cast(pa.time32("s")),
            "weight": pa.array(rng.normal(size=5000).round(3), pa.float32()),
            "price": pa.array(rng.integers(0, 10**6, 5000)).cast(pa.decimal128(24, 2)),
            "paid": rng.random(5000) < 0.5,
            "late": rng.choice(["no", "yes"], 5000),
        }
    )
    return everything.slice(first, rows)


@pytest.fixture
def seal(bench, tmp_path):
    """Prepares a table as a file of some name and returns its splits."""

    def prepare(rows, name="a.parquet", split=None, **config):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".csv":
            pa.csv.write_csv(rows, path)
        elif path.suffix == ".jsonl":
            place = rows.column_names.index("weight")  # a float32 is written with the digits that it has
            rows = rows.set_column(place, "weight", rows["weight"].cast(pa.string()).cast(pa.float64()))
            path.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows.to_pylist()))
        else:
            pq.write_table(rows, path)
        found = DataConfig.model_validate({"source": str(path), "target": "late", "drop": [], **config})
        return data.prepare(found, split or SplitConfig(), bench.store, folder=str(tmp_path))

    return prepare


@pytest.fixture
def score(bench):
    """Scores a model on the sealed rows of some splits and returns the label and the rows it rests on."""

    def opened(splits):
        fake = bench.bundle(schema=splits.data_schema)
        scored = bench.score(bench.run(f"run-{splits.id}", splits.id, fake))
        return scored.runs[0].label, scored.rows

    return opened


def shuffled(rows):
    return rows.take(np.random.default_rng(0).permutation(rows.num_rows))


def renamed(rows):
    return rows.rename_columns([name if name == "late" else f"{name}_2" for name in rows.column_names])


def as_text(rows):
    return pa.table({name: pc.cast(rows[name], pa.string()) for name in rows.column_names})


def dictionaries(rows):
    return rows.set_column(2, "city", rows["city"].dictionary_encode())


def capital(rows):
    """Truth values as pandas writes them into a csv."""
    words = pa.array([str(each) for each in rows["paid"].to_pylist()])
    return rows.set_column(rows.column_names.index("paid"), "paid", words)


def floats(rows):
    return rows.set_column(0, "id", pc.cast(rows["id"], pa.float64()))


SAME = [
    ("b.parquet", lambda rows: rows),
    ("deeper/b.parquet", shuffled),
    ("b.csv", lambda rows: rows),
    ("b.jsonl", shuffled),
    ("b.parquet", lambda rows: rows.select(sorted(rows.column_names))),
    ("b.csv", capital),
    ("b.parquet", dictionaries),
    ("b.parquet", floats),
    ("b.csv", as_text),
]


@pytest.mark.parametrize("key", [(), ("id",)])
@pytest.mark.parametrize(("name", "change"), SAME)
def test_a_copy_in_another_name_order_or_format_is_spent(seal, score, key, name, change):
    first = seal(table(), key=key)
    assert score(first) == ("test", first.rows["test"])
    rows = change(table())
    copy = seal(rows, name, key=key)
    assert copy.fingerprints["test"] == first.fingerprints["test"]
    assert score(copy)[0] == "validation"


def test_renamed_columns_seal_other_rows_and_those_already_scored_stay_spent(bench, seal, score):
    score(seal(table(3000)))
    other = seal(renamed(table(3000)), "b.parquet")  # a name is part of what decides a row's side
    receipt = unseal.receipt(bench.store, other, name="late")
    assert 0.05 < receipt.spent / receipt.rows < 0.15
    assert score(other) == ("test", receipt.fresh)


def test_another_seed_seals_other_rows_and_those_already_scored_stay_spent(bench, seal, score):
    first = seal(table())
    score(first)
    other = seal(table(), split=SplitConfig(seed=1))
    receipt = unseal.receipt(bench.store, other, name="late")
    assert 0 < receipt.spent < receipt.rows
    assert score(other) == ("test", receipt.fresh)


@pytest.mark.parametrize("key", [(), ("id",)])
def test_appended_rows_are_the_only_fresh_ones(bench, seal, score, key):
    first = seal(table(), key=key)
    score(first)
    grown = seal(table(1200), "b.parquet", key=key)
    assert unseal.receipt(bench.store, grown, name="late").fresh == grown.rows["test"] - first.rows["test"]
    assert score(grown) == ("test", grown.rows["test"] - first.rows["test"])
    assert score(grown) == ("validation", grown.rows["test"])


def test_a_corrected_label_is_spent(seal, score):
    first = seal(table())
    score(first)
    rows = table()
    flipped = rows.set_column(
        rows.column_names.index("late"), "late", pc.if_else(pc.equal(rows["late"], "no"), "yes", "no")
    )
    assert score(seal(flipped, "b.parquet"))[0] == "validation"


def test_rows_are_spent_whatever_is_added_to_them(seal, score):
    score(seal(table(3000)))
    more = table(3000).append_column("source", pa.array(["web"] * 3000))
    other = seal(more, "b.parquet")  # another column is part of what decides a side: other rows are sealed
    label, rows = score(other)
    assert (label, 0.85 < rows / other.rows["test"] < 0.95) == ("test", True)
    assert score(other) == ("validation", other.rows["test"])


def test_a_keyed_row_is_spent_whatever_is_added_to_it(seal, score):
    score(seal(table(), key=("id",)))
    more = table().append_column("noise", pa.array(np.random.default_rng(3).normal(size=600)))
    assert score(seal(more, "b.parquet", key=("id",)))[0] == "validation"


def test_another_column_left_out_resets_nothing(seal, score):
    first = seal(table(), key=("id",))
    score(first)
    assert score(seal(table(), "b.parquet", key=("id",), drop=("x",)))[0] == "validation"


def test_the_seal_covers_a_part_that_was_cut_out(seal, score):
    score(seal(table()))
    assert score(seal(table(300), "b.parquet"))[0] == "validation"


def test_no_test_share_has_an_empty_receipt(bench, seal):
    splits = seal(
        table(), split=SplitConfig.model_validate({"fractions": {"train": 0.8, "validation": 0.2, "test": 0}})
    )
    assert unseal.receipt(bench.store, splits, name="late").rows == 0

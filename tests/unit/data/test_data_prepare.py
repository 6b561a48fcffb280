import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import sealed

from raymle.config import DataConfig, SplitConfig
from raymle.data import blocks, prepare
from raymle.data.shards import canonical_order, garbage, load, load_transform
from raymle.errors import ArtifactError, DataError, GateRefused
from raymle.store import open_store

ROWS = 1500


def table(rows=ROWS, seed=0, **more):
    draw = np.random.default_rng(seed)
    size = draw.normal(3, 2, rows)
    columns = {
        "id": np.arange(rows),
        "size": pa.array(size, mask=draw.random(rows) < 0.1),
        "colour": pa.array(draw.choice(["red", "green", "blue"], rows), mask=draw.random(rows) < 0.1),
        "late": np.where(size + draw.normal(size=rows) > 3, "yes", "no"),
    }
    return pa.table(columns | more)


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


def made(store, source, split=None, folder=".", positive=None, **data):
    data = DataConfig(**({"source": "given", "target": "late", "key": "id"} | data))
    return prepare(data, SplitConfig(**(split or {})), store, folder=folder, source=source, positive=positive)


def test_every_row_is_on_exactly_one_side(store):
    splits = made(store, table())
    train, validation = load(splits, "train"), load(splits, "validation")
    assert len(train.numbers) + len(validation.numbers) + sealed(store, splits).num_rows == ROWS
    assert splits.rows["train"] == len(train.target)
    assert len(set(splits.fingerprints.values())) == 3


def test_encoded_rows_are_what_the_transform_makes_of_them(store):
    source = table()
    splits = made(store, source)
    train, transform = load(splits, "train"), load_transform(splits)
    tested = {int(row) for row in sealed(store, splits)["id"].to_pylist()}
    codes = transform.apply(
        source.select(["size", "colour"]).cast(pa.schema([("size", pa.float64()), ("colour", pa.string())]))
    )
    found = {tuple(row) for row in train.numbers.tolist()}
    others = [row for place, row in enumerate(codes.numbers.tolist()) if place not in tested]
    assert found <= {tuple(row) for row in others}
    assert train.target.dtype == np.int64
    assert set(np.unique(train.target)) == {0, 1}


def test_the_second_time_nothing_is_computed(store, monkeypatch):
    first = made(store, table())
    monkeypatch.setattr(blocks.Blocks, "each", None)
    second = made(store, table())
    assert not first.reused
    assert second.reused
    assert second.model_copy(update={"reused": False}) == first


def test_another_split_is_other_data_but_another_limit_of_drift_is_not(store):
    first = made(store, table())
    assert made(store, table(), {"seed": 1}).id != first.id
    assert made(store, table(), {"max_drift": 10}).id == first.id


def test_damaged_shards_are_made_again(store):
    first = made(store, table())
    (store.root / "shards" / first.id / "train" / "numbers.npy").write_bytes(b"")
    with pytest.raises(ArtifactError):
        load(first, "train")
    again = made(store, table())
    assert not again.reused
    assert len(load(again, "train").numbers) == first.rows["train"]


def test_sealed_rows_that_are_gone_are_made_again(store):
    first = made(store, table())
    shutil.rmtree(store.root / "sealed" / first.id)
    assert sealed(store, made(store, table())).num_rows == first.rows["test"]


def test_a_row_keeps_its_side_when_rows_are_added_moved_or_relabelled(store):
    source = table()
    more = pa.concat_tables([table(300, seed=1, id=pa.array(np.arange(9000, 9300))), source])
    relabelled = source.set_column(3, "late", pa.array(["yes", "no"] * (ROWS // 2)))
    before = set(sealed(store, made(store, source))["id"].to_pylist())
    after = set(sealed(store, made(store, more))["id"].to_pylist())
    assert {row for row in after if int(row) < 9000} == before
    assert set(sealed(store, made(store, relabelled))["id"].to_pylist()) == before


def test_a_row_keeps_its_side_when_a_feature_is_made_or_a_column_is_left_out(store, tmp_path):
    (tmp_path / "features_of_test.py").write_text(
        "import pyarrow.compute as pc\n"
        "def twice(rows): return rows.append_column('twice', pc.multiply(rows['size'], 2.0))\n"
    )
    source, config = table(), {"key": (), "folder": str(tmp_path)}
    before = sealed(store, made(store, source, **config))
    made_more = sealed(store, made(store, source, **config, transforms=["features_of_test:twice"]))
    dropped = sealed(store, made(store, source, **config, drop="colour"))
    for rows in (made_more, dropped):
        assert rows["__identity"] == before["__identity"]
        assert rows["__content"] == before["__content"]


def test_the_order_of_the_rows_changes_neither_split_nor_canonical_order(store):
    source = table()
    shuffled = source.take(pa.array(np.random.default_rng(1).permutation(ROWS)))
    first, second = made(store, source), made(store, shuffled)
    assert first.fingerprints == second.fingerprints
    one, other = load(first, "train"), load(second, "train")
    assert np.allclose(one.numbers[one.order], other.numbers[other.order], rtol=1e-5, atol=1e-6)
    assert (one.codes[one.order] == other.codes[other.order]).all()
    assert (one.target[one.order] == other.target[other.order]).all()


def test_equal_rows_with_different_labels_have_one_order():
    identity = np.array([5, 1, 5, 3, 5], np.uint64)
    target = np.array([2, 9, 0, 9, 1])
    assert target[canonical_order(identity, target)].tolist() == [9, 9, 0, 1, 2]


def test_a_renamed_copy_has_the_same_contents(store, tmp_path):
    source = table()
    renamed = source.rename_columns(["number", "how_big", "tint", "late"]).select([2, 3, 1, 0])
    first, second = sealed(store, made(store, source)), sealed(store, made(store, renamed, key="number"))
    known = dict(zip(first["id"].to_pylist(), first["__content"].to_pylist(), strict=True))
    again = dict(zip(second["number"].to_pylist(), second["__content"].to_pylist(), strict=True))
    both = known.keys() & again.keys()
    assert both
    assert all(known[row] == again[row] for row in both)


def test_blocks_read_again_give_what_kept_blocks_give(store, monkeypatch, tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(table(), path)
    monkeypatch.setattr(blocks, "ROWS", 100)
    kept = made(store, str(path))
    monkeypatch.setattr(blocks, "KEEP_BYTES", 0)
    read = made(open_store(str(tmp_path / "other")), str(path))
    assert read.fingerprints == kept.fingerprints
    assert (load(read, "train").numbers == load(kept, "train").numbers).all()
    assert (load(read, "train").order == load(kept, "train").order).all()


def test_statistics_come_from_train_rows_alone(store):
    side = ["train"] * 1000 + ["validation"] * 250 + ["test"] * 250
    size = np.concatenate([np.zeros(999), [1.0], np.full(500, 1e6)])
    source = table(size=size, side=side)
    transform = load_transform(made(store, source, {"method": "column", "by": "side"}))
    assert transform.numbers[0].mean == pytest.approx(0.001)


def test_groups_are_not_torn_apart(store):
    source = table(family=np.arange(ROWS) // 7)
    splits = made(store, source, {"method": "group"}, group="family")
    tested = sealed(store, splits)["family"].to_pylist()
    assert len(tested) == sum(min(7, ROWS - 7 * int(family)) for family in set(tested))


def test_time_seals_the_latest_rows_even_if_time_is_a_fraction(store):
    source = table(when=np.random.default_rng(3).random(ROWS) - 0.5)
    splits = made(store, source, {"method": "time"}, time="when")
    tested = sealed(store, splits)["when"].to_pylist()
    assert sorted(source["when"].to_pylist())[-len(tested) :] == sorted(tested)
    assert len(tested) == 150


@pytest.mark.parametrize(
    ("source", "split", "data", "sentence"),
    [
        (table(id=[7] * ROWS), {}, {}, "key id does not name a row: 1,499 of 1,500 rows repeat one"),
        (table(4), {}, {}, "leaves no"),
        (
            pa.table({"text": ["all the same"] * 600, "late": ["a", "b"] * 300}),
            {},
            {"key": ()},
            "rows of 600; equal rows stay on one side, and without repeats there are 1",
        ),
        (table(when=[None, *range(ROWS - 1)]), {"method": "time"}, {"time": "when"}, "'when' is missing in 1 of 1,500"),
        (table(late=np.arange(ROWS) / 7), {"method": "stratified"}, {}, "stratified needs classes, but target 'late'"),
        (table(late=["rare"] * 2 + ["a", "b"] * 749), {"method": "stratified"}, {}, "class 'rare' has 2 rows"),
        (
            pa.table({"a": [1.0] * 9 + list(range(2, 600)), "late": ["rare"] * 9 + ["a", "b"] * 299}),
            {"method": "stratified"},
            {"key": ()},
            "class 'rare' cannot be in every split",
        ),
        (table(), {}, {"positive": "perhaps"}, "'perhaps' is not a class of 'late'"),
    ],
)
def test_what_cannot_be_prepared_is_refused_and_leaves_nothing(store, source, split, data, sentence):
    with pytest.raises(DataError, match=sentence):
        made(store, source, split, **data)
    assert not store.names("shards")
    assert not store.names("sealed")
    assert not list(store.root.glob(".tmp-*"))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("return rows.slice(1)", "makes 1,499 rows of a table with 1,500 rows"),
        ("return 3", "makes a int"),
        ("raise KeyError('size')", "fails: KeyError: 'size'"),
    ],
)
def test_a_transform_that_misbehaves_is_named(store, tmp_path, body, sentence):
    name = f"misbehaving_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(f"def change(rows):\n    {body}\n")
    with pytest.raises(DataError, match=sentence):
        made(store, table(), folder=str(tmp_path), transforms=[f"{name}:change"])


def test_drift_is_reported_and_refused_when_the_spec_says_so(store):
    source = table(size=np.arange(ROWS) * 1.0, when=np.arange(ROWS))
    config = {"method": "time", "max_drift": 0.2}
    with pytest.raises(GateRefused, match="column 'size' differs between train and"):
        made(store, source, config, time="when")
    worst = max(made(store, source, {"method": "time"}, time="when").distribution, key=lambda each: each.psi)
    assert (worst.column, worst.statistic) == ("size", 1.0)
    assert max(each.psi for each in made(store, table()).distribution) < 0.2


def test_repeated_rows_stay_together_and_are_counted(store):
    once = table().drop_columns("id")
    splits = made(store, pa.concat_tables([once, once]), key=())
    assert "of 3,000 rows repeat another; they stay on one side" in splits.warnings[0]
    assert all(count % 2 == 0 for count in splits.rows.values())


def test_a_class_without_train_rows_is_a_warning(store):
    source = table(late=["rare", *["a", "b"] * 749, "a"], side=["test", *["train"] * 1200, *["validation"] * 299])
    splits = made(store, source, {"method": "column", "by": "side"})
    assert any("no train row is of class rare" in each for each in splits.warnings)


def test_garbage_is_what_no_run_names(store):
    first, second = made(store, table()), made(store, table(), {"seed": 1})
    assert list(garbage(store, [second.id])) == [first.id]
    assert store.names("shards") == [second.id]


def test_the_summary_sees_no_sealed_row(store):
    side = ["train"] * 1000 + ["validation"] * 250 + ["test"] * 250
    source = table(size=np.concatenate([np.zeros(1250), np.full(250, 9e9)]), side=side, email=["a@b.org"] * ROWS)
    splits = made(store, source, {"method": "column", "by": "side"}, drop="email")
    document = json.loads((store.root / "shards" / splits.id / "summary.json").read_text())
    found = {each["column"]: each for each in document["columns"]}
    assert found["size"]["max"] == 0
    assert found["email"]["private"]
    assert found["colour"]["distinct"] == 3


@pytest.mark.parametrize(("positive", "classes"), [(None, ("usual", "broken")), ("usual", ("broken", "usual"))])
def test_what_is_usual_is_the_first_class_of_anomalies(store, positive, classes):
    late = np.where(np.arange(ROWS) % 10, "usual", "broken")
    splits = made(store, table(late=late), task="anomaly", positive=positive)
    assert splits.data_schema.classes == classes
    assert splits.data_schema.kind == "anomaly"
    share = load(splits, "train").target.mean()
    assert (share < 0.5) == (positive is None)


def test_nothing_is_learned_of_anomalies_not_even_how_numbers_are_scaled(store):
    odd = np.arange(ROWS) % 10 == 0
    size = np.where(odd, 1e6, np.arange(ROWS) % 7)
    colour = np.where(odd, "never else", "blue")
    late = np.where(odd, "broken", "usual")
    splits = made(store, table(late=late, size=size, colour=colour), task="anomaly")
    transform = load_transform(splits)
    assert transform.numbers[0].std < 10
    assert transform.categories[0].values == ("blue",)
    assert np.abs(load(splits, "train").numbers).max() >= 1e4, "they are far out, where a model can see them"

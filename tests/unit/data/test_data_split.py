"""Who goes where: properties of the row hashes and of the sides that follow from them."""

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymle.config import SplitConfig
from raymle.config.data import Fractions
from raymle.data import hashes as hashing
from raymle.data import split
from raymle.errors import DataError

SETTINGS = settings(max_examples=25, deadline=None)
ROWS = st.integers(1, 60)
SEEDS = st.integers(0, 2**31)


def table(rows: int, seed: int = 0) -> pa.RecordBatch:
    draw = np.random.default_rng(seed)
    holes = draw.random(rows) < 0.2
    words = pa.array(
        draw.choice(["red", "green", "7", "", "blue "], rows).tolist(), pa.string(), mask=draw.random(rows) < 0.1
    )
    return pa.RecordBatch.from_pydict(
        {
            "size": pa.array(draw.normal(size=rows), mask=holes),
            "count": pa.array(draw.integers(-5, 2**60, rows)),
            "color": words,
            "flag": pa.array(draw.random(rows) < 0.5),
            "when": pa.array(draw.integers(0, 2**40, rows), pa.timestamp("us")),
            "y": pa.array(draw.integers(0, 2, rows)),
        }
    )


def hashes(batch: pa.RecordBatch) -> tuple[Any, Any]:
    return hashing.row_hashes(batch, (), target="y")


def config(method: str = "hash", **values: Any) -> SplitConfig:
    return SplitConfig.model_validate({"method": method, **values})


def hash_sides(identity: Any, seed: int = 0) -> Any:
    wanted = config(seed=seed)
    return split.sides(split.rule(wanted, identity, None), identity, None)


@SETTINGS
@given(rows=ROWS, size=st.integers(1, 20), seed=SEEDS)
def test_hashes_are_the_same_whatever_the_batch_size(rows: int, size: int, seed: int) -> None:
    whole = table(rows, seed)
    parts = [hashes(whole.slice(start, size)) for start in range(0, rows, size)]
    for joined, each in zip(zip(*parts, strict=True), hashes(whole), strict=True):
        assert np.concatenate(joined).tolist() == each.tolist()


@SETTINGS
@given(rows=ROWS, seed=SEEDS)
def test_hashes_follow_their_rows_when_these_are_shuffled(rows: int, seed: int) -> None:
    whole = table(rows, seed)
    order = np.random.default_rng(seed).permutation(rows)
    shuffled = pa.Table.from_batches([whole]).take(order).combine_chunks().to_batches()[0]
    for mine, theirs in zip(hashes(whole), hashes(shuffled), strict=True):
        assert mine[order].tolist() == theirs.tolist()


@SETTINGS
@given(rows=ROWS, more=ROWS, seed=SEEDS)
def test_appended_rows_move_no_row(rows: int, more: int, seed: int) -> None:
    first = table(rows, seed)
    both = pa.Table.from_batches([first, table(more, seed + 1)]).combine_chunks().to_batches()[0]
    assert hash_sides(hashes(both)[0])[:rows].tolist() == hash_sides(hashes(first)[0]).tolist()


@SETTINGS
@given(rows=ROWS, seed=SEEDS)
def test_a_corrected_label_moves_nothing(rows: int, seed: int) -> None:
    batch = table(rows, seed)
    corrected = batch.set_column(5, "y", pa.array(["yes"] * rows))
    for mine, theirs in zip(hashes(batch), hashes(corrected), strict=True):
        assert mine.tolist() == theirs.tolist()


def test_identical_rows_are_on_one_side() -> None:
    batch = table(40)
    twice = pa.Table.from_batches([batch, batch]).combine_chunks().to_batches()[0]
    found = hash_sides(hashes(twice)[0])
    assert found[:40].tolist() == found[40:].tolist()


@pytest.mark.parametrize("seed", [0, 1, 2**63 + 1, 2**70])
def test_shares_are_those_asked_for_with_any_seed(seed: int) -> None:
    identity = hashes(pa.RecordBatch.from_pydict({"row": np.arange(20_000), "y": np.zeros(20_000)}))[0]
    counts = np.bincount(hash_sides(identity, seed), minlength=3) / 20_000
    assert counts == pytest.approx([0.8, 0.1, 0.1], abs=0.01)


def test_another_seed_is_another_split() -> None:
    identity = hashes(table(300))[0]
    assert hash_sides(identity, 0).tolist() != hash_sides(identity, 1).tolist()


def test_without_a_test_share_nothing_is_sealed() -> None:
    wanted = config(fractions=Fractions(train=0.5, validation=0.5, test=0))
    identity = hashes(table(500))[0]
    assert set(split.sides(split.rule(wanted, identity, None), identity, None).tolist()) == {0, 1}


@SETTINGS
@given(rows=ROWS, seed=SEEDS)
def test_content_survives_renamed_and_rearranged_columns(rows: int, seed: int) -> None:
    batch = table(rows, seed)
    names = ["when", "y", "flag", "color", "size", "count"]
    moved = batch.select(names).rename_columns(["a", "y", "b", "c", "d", "e"])
    assert hashes(moved)[1].tolist() == hashes(batch)[1].tolist()
    assert hashes(batch.select(names))[0].tolist() == hashes(batch)[0].tolist()
    assert hashes(moved)[0].tolist() != hashes(batch)[0].tolist()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1, 2, None]), pa.array([1.0, 2.0, np.nan])),
        (pa.array([0.0, 1.5]), pa.array([-0.0, 1.5])),
        (pa.array([1, 70], pa.int8()), pa.array([1, 70], pa.uint64())),
        (pa.array(["a", None, "b"]), pa.array(["a", None, "b"]).dictionary_encode()),
        (pa.array(["a", "b"]), pa.array(["a", "b"], pa.large_string())),
        (pa.array(["1.50", "7"]), pa.array([1.5, 7.0])),
        (pa.array([10**6, 123456789]), pa.array(["1000000", "123456789"])),
        (pa.array([2**60 + 1, 5]), pa.array([str(2**60 + 1), "5"])),
        (pa.array([-(2**60) - 1, None]), pa.array([str(-(2**60) - 1), None])),
        (pa.array([2**64 - 5, 7], pa.uint64()), pa.array([str(2**64 - 5), "7"])),
        (pa.array([0, 86_400], pa.timestamp("s")), pa.array([0, 86_400 * 10**9], pa.timestamp("ns"))),
        (pa.array([0, 86_400], pa.timestamp("s")), pa.array([0, 1], pa.date32())),
        (pa.nulls(3), pa.array([None] * 3, pa.string())),
        (pa.array(["a", None]), pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None]))),
    ],
)
def test_content_does_not_depend_on_how_a_value_is_stored(one: pa.Array, other: pa.Array) -> None:
    found = [hashes(pa.RecordBatch.from_pydict({"a": each, "y": pa.nulls(len(each))}))[1] for each in (one, other)]
    assert found[0].tolist() == found[1].tolist()


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2], pa.time32("s")),
        pa.array([1000, 2000], pa.time64("ns")),
        pa.array([1, 2], pa.duration("ms")),
        pa.array([0, 1000], pa.timestamp("ns", "Europe/Zurich")),
        pa.array([b"\xff", b"a"]),
        pa.array([[1, 2], [3]]),
        pa.array([{"a": 1}, {"a": 2}]),
        pa.array([Decimal("1.10"), Decimal("1.20")]),
        pa.array([2**53, 2**53 + 1]),
    ],
    ids=lambda values: str(values.type),
)
def test_different_values_of_any_type_have_different_identities(values: pa.Array) -> None:
    batch = pa.RecordBatch.from_pydict({"a": values, "y": pa.nulls(2)})
    identity, _ = hashes(batch)
    assert identity[0] != identity[1]
    assert [hashes(batch.slice(row, 1))[0][0] for row in (0, 1)] == identity.tolist()


def test_words_that_spell_a_number_differently_are_two_keys_and_one_content() -> None:
    batch = pa.RecordBatch.from_pydict({"a": ["7", "07", "7.0"]})
    identity, content = hashing.row_hashes(batch, ["a"], target="y")
    assert identity[0] == identity[2] != identity[1]
    assert content[0] == content[1] == content[2]


@SETTINGS
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    shares=st.sampled_from([(0.8, 0.1, 0.1), (0.1, 0.4, 0.5), (0.1, 0.8, 0.1), (0.2, 0.8, 0.0)]),
    seed=SEEDS,
)
def test_stratified_has_every_class_on_every_side_or_says_which_is_too_small(
    counts: list[int], shares: tuple[float, float, float], seed: int
) -> None:
    names = [f"class{place}" for place in range(len(counts))]
    codes = np.repeat(np.arange(len(counts)), counts)
    identity = hashing.mix(np.arange(len(codes), dtype=np.uint64))
    fractions = dict(zip(("train", "validation", "test"), shares, strict=True))
    wanted = config("stratified", fractions=fractions, seed=seed)
    sides = 3 if shares[2] else 2
    if min(counts) < sides:
        with pytest.raises(DataError, match=names[int(np.argmax(np.array(counts) < sides))]):
            split.rule(wanted, identity, codes, names)
        return
    found = split.sides(split.rule(wanted, identity, codes, names), identity, codes)
    assert {(code, side) for code, side in zip(codes.tolist(), found.tolist(), strict=True)} == {
        (code, side) for code in range(len(counts)) for side in range(sides)
    }


@SETTINGS
@given(moments=st.lists(st.integers(-1000, 1000), min_size=10, max_size=80))
def test_time_puts_the_latest_rows_into_test_and_ties_together(moments: list[int]) -> None:
    aux = np.array(moments)
    identity = hashing.mix(np.arange(len(aux), dtype=np.uint64))
    found = split.sides(split.rule(config("time"), identity, aux), identity, aux)
    order = np.argsort(aux, kind="stable")
    assert (np.diff(found[order].astype(int)) >= 0).all()
    for moment in set(moments):
        assert len(set(found[aux == moment].tolist())) == 1


def test_a_group_stays_together() -> None:
    groups = pa.array([f"patient {row % 50}" for row in range(500)])
    drawn = hashing.column_hashes(groups)
    found = split.sides(split.rule(config("group"), drawn, None), drawn, None)
    assert (found.reshape(10, 50) == found[:50]).all()
    assert len(set(found.tolist())) > 1


def test_given_sides_are_read_in_their_usual_spellings() -> None:
    words = pa.array(["train", " Valid", "TEST", "dev", "training", "val"])
    assert split.given_sides(words, "part").tolist() == [0, 1, 2, 1, 0, 1]
    assert split.given_sides(words.dictionary_encode(), "part").tolist() == [0, 1, 2, 1, 0, 1]


@pytest.mark.parametrize("strange", ["holdout", None])
def test_another_word_for_a_side_is_refused(strange: str | None) -> None:
    with pytest.raises(DataError, match="'part' holds"):
        split.given_sides(pa.array(["train", strange]), "part")

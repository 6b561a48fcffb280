"""What is told of a column by its type, and that nothing of it depends on a sealed row."""

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymle.config import DataConfig, SplitConfig
from raymle.data import prepare
from raymle.data.summary import bins, shown, summarise
from raymle.data.summary.columns import DESCRIBE, describe
from raymle.records import Column, Schema
from raymle.store import open_store


def told(kind, values):
    return describe(Column(name="it", type=kind, role="feature"), pa.table({"it": values})["it"])


def test_a_number():
    facts = told("number", pa.array([0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 100.0, None, None]))
    assert (facts["missing"], facts["zeros"], facts["distinct"], facts["common"]) == (0.2, 0.2, 7, 0.2)
    assert (facts["min"], facts["median"], facts["max"], facts["quartiles"]) == (0.0, 2.5, 100.0, [0.75, 4.25])
    assert facts["mean"] == pytest.approx(115 / 8)
    assert facts["outliers"] == 0.1
    picture = facts["histogram"]
    assert (picture["edges"], picture["counts"]) == ([-0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5], [2, 1, 1, 1, 1, 1])
    assert (picture["below"], picture["above"]) == (0, 1)


@given(st.lists(st.floats(allow_nan=False) | st.none(), max_size=60))
def test_any_numbers_can_be_told_and_a_histogram_counts_each_once(values):
    facts = DESCRIBE["number"](pa.chunked_array([pa.array(values, pa.float64())]))
    json.dumps(facts, allow_nan=False)
    known = [each for each in values if each is not None and np.isfinite(each)]
    if not known:
        assert facts["distinct"] == 0
        return
    picture = facts["histogram"]
    assert sum(picture["counts"]) + picture["below"] + picture["above"] == len(known)
    assert len(picture["edges"]) == len(picture["counts"]) + 1 <= bins.BINS + 1
    assert facts["distinct"] == len(set(known))
    assert facts["min"] <= facts["median"] <= facts["max"]


def test_a_category_and_a_flag():
    facts = told("category", ["red"] * 150 + ["blue"] * 48 + ["odd", None])
    assert (facts["missing"], facts["distinct"], facts["common"], facts["rare"]) == (0.005, 3, 0.75, 0.005)
    assert facts["most"] == [["red", 0.75], ["blue", 0.24]]
    assert told("boolean", [True, True, False, False, False])["most"] == [["false", 0.6], ["true", 0.4]]


def test_a_text_is_told_by_length_words_and_examples_cut_short():
    facts = told("text", ["the ship is late", "The shop, again: late! late!", "  ", None, "x" * 300])
    assert (facts["length"]["max"], facts["empty"], facts["missing"]) == (300, 0.2, 0.2)
    assert facts["words"] == [["the", 0.5], ["late", 0.5]] or facts["words"] == [["late", 0.5], ["the", 0.5]]
    assert facts["examples"][0] == "the ship is late"
    assert max(map(len, facts["examples"])) == 80


def test_a_moment_is_told_by_its_ends_and_gaps():
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3, 20)]
    facts = told("timestamp", pa.array([*days, None], pa.timestamp("us", "UTC")))
    assert (facts["first"], facts["last"]) == ("2026-01-01T00:00:00+00:00", "2026-01-20T00:00:00+00:00")
    assert facts["gaps"] == {
        "median_s": 86400.0, "largest_s": 17 * 86400.0, "largest_from": "2026-01-03T00:00:00+00:00",
        "largest_to": "2026-01-20T00:00:00+00:00",
    }  # fmt: skip
    assert sum(facts["histogram"]["counts"]) == 4


def test_a_column_that_is_left_out_or_of_a_new_type_has_its_type_and_role_alone():
    facts = describe(Column(name="left", type="number", role="drop", reason="data.drop"), None)
    assert set(facts) == {"column", "type", "role", "reason", "private", "evidence"}
    assert "image" not in DESCRIBE
    assert told("image", [b"1", b"2"])["missing"] == 0


def summary(target, task):
    table = pa.table({"x": np.arange(len(target)) * 1.5, "target": target})
    columns = (Column(name="x", type="number", role="feature"),
               Column(name="target", type="category" if task == "classification" else "number", role="target"))  # fmt: skip
    return summarise(
        Schema(columns=columns, target="target", task=task), {"train": table[:60], "validation": table[60:]}, rows=80
    )


def test_the_balance_names_classes_by_side_and_the_smallest():
    balance = summary(["a"] * 45 + ["b"] * 15 + ["a"] * 16 + ["b"] * 4, "classification")["balance"]
    assert balance["classes"][1] == {
        "class": "b", "train": {"rows": 15, "share": 0.25}, "validation": {"rows": 4, "share": 0.2},
    }  # fmt: skip
    assert balance["smallest"] == {"class": "b", "rows": 19, "share": 0.2375}


def test_a_numbers_balance_is_its_statistics_by_side():
    sides = summary(np.arange(80.0), "regression")["balance"]["sides"]
    assert (sides["train"]["max"], sides["validation"]["min"]) == (59.0, 60.0)
    assert sum(sides["validation"]["histogram"]["counts"]) == 20


def test_a_private_target_is_counted_and_not_named():
    document = summary([f"p{row % 2}@example.org" for row in range(80)], "classification")
    assert "example" not in json.dumps(document["balance"])
    assert document["balance"]["classes"][0]["class"] == "class 1"


SIDES = np.array(["train", "train", "validation", "test"] * 60)
SEALED = SIDES == "test"
cells = {
    "size": st.floats(-1e6, 1e6), "colour": st.sampled_from(["red", "green", "never seen", "a@b.org", "+49 171 2345678"]),
    "on": st.booleans(), "at": st.integers(0, 4 * 10**15), "count": st.integers(0, 10**6),
}  # fmt: skip


def raw(changed):
    draw = np.random.default_rng(3)
    rows = len(SIDES)
    columns = {
        "size": draw.normal(size=rows), "colour": draw.choice(["red", "green", "blue"], rows).astype(object),
        "on": draw.random(rows) < 0.5, "at": draw.integers(0, 10**15, rows), "count": draw.integers(0, 9, rows),
    }  # fmt: skip
    for name, values in columns.items():
        values[SEALED] = np.resize(np.array(changed[name], dtype=values.dtype), SEALED.sum())
    columns["at"] = columns["at"].astype("datetime64[us]")
    return pa.table({name: pa.array(values) for name, values in columns.items()} | {
        "id": np.arange(rows), "side": SIDES, "late": draw.choice(["yes", "no"], rows),
    })  # fmt: skip


def document(source, folder):
    data = DataConfig(source="given", target="late", key="id")
    splits = prepare(data, SplitConfig(method="column", by="side"), open_store(str(folder)), folder=".", source=source)
    return {**shown("it", splits), "splits": splits.id}


USUAL = {"size": [0.5], "colour": ["red"], "on": [True], "at": [10**14], "count": [3]}


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return document(raw(USUAL), tmp_path_factory.mktemp("store"))


@settings(max_examples=10)
@given(changed=st.fixed_dictionaries({name: st.lists(each, min_size=1, max_size=8) for name, each in cells.items()}))
def test_other_features_of_test_rows_change_nothing_that_is_shown(usual, tmp_path_factory, changed):
    other = document(raw(changed), tmp_path_factory.mktemp("store"))
    assert (other["splits"] == usual["splits"]) == raw(USUAL).equals(raw(changed))  # it was another table
    assert other | {"splits": usual["splits"]} == usual

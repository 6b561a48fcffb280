"""What is found of columns and their pairs: leakage, ids, constants, columns that say the same; and what is not."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymle.data.summary import alone, bins, related, summarise
from raymle.records import Column, Schema

ROWS = 1200
DRAW = np.random.default_rng(7)
CLASSES = np.where(DRAW.random(ROWS) < 0.2, "yes", "no")
YES = CLASSES == "yes"
NOISE = DRAW.normal(size=ROWS)


def schema(table, task="classification", roles=None, types=None):
    roles, types = {"target": "target"} | (roles or {}), types or {}
    kinds = {"double": "number", "string": "category", "bool": "boolean", "timestamp[us, tz=UTC]": "timestamp"}
    columns = tuple(
        Column(name=each.name, type=types.get(each.name, kinds[str(each.type)]), role=roles.get(each.name, "feature"))
        for each in table.schema
    )
    return Schema(columns=columns, target="target", task=task)


def found(columns, target=CLASSES, task="classification", rows=ROWS, **more):
    """Return kind and columns of every finding."""
    table = pa.table(columns | {"target": target})
    half = table.num_rows // 2
    told = summarise(schema(table, task, **more), {"train": table[:half], "validation": table[half:]}, rows=rows)
    json.dumps(told, allow_nan=False)
    return {(each["kind"], *each["columns"]): each for each in told["findings"]}


def moments(days):
    return pa.array((np.asarray(days) * 86_400e6).astype(np.int64), pa.timestamp("us", "UTC"))


def test_a_number_that_alone_predicts_the_class_is_a_suspect_with_its_figure():
    one = found({"refund": np.where(YES, 50 + NOISE, NOISE), "fair": YES * 1.5 + NOISE})
    assert list(one) == [("alone", "refund")]
    assert one["alone", "refund"]["figure"] > 0.999
    assert one["alone", "refund"]["text"] == (
        "column refund alone predicts the target (AUC 1.000): is it known before the event? data.drop: [refund]"
    )


def test_a_value_that_is_only_there_for_one_class_is_a_suspect():
    closed = pa.array(DRAW.integers(0, 1000, ROWS) * 86_400_000_000, pa.timestamp("us", "UTC"), mask=~YES)
    assert ("alone", "closed_at") in found({"closed_at": closed})


def test_a_spike_beside_spread_values_is_a_suspect():
    assert next(iter(found({"days": np.where(YES, DRAW.exponential(9, ROWS), 0.0)}))) == ("alone", "days")


def test_the_target_in_other_words_and_a_category_that_decides_it():
    one = found({
        "coded": np.where(YES, 7.0, 3.0), "word": np.where(YES, "ja", "nein"), "flag": YES,
        "code": np.where(YES, DRAW.choice(["a", "b"], ROWS), DRAW.choice(["c", "d"], ROWS)),
    })  # fmt: skip
    assert [each for each in one if each[0] in {"copy", "decides", "alone"}] == [
        ("copy", "coded"), ("copy", "word"), ("copy", "flag"), ("decides", "code"),
    ]  # fmt: skip


def test_an_id_predicts_nothing_and_a_good_feature_is_no_suspect():
    one = found({"code": [f"c{row}" for row in range(ROWS)], "good": YES * 2.0 + NOISE})
    assert list(one) == [("id", "code")]


def test_several_classes_are_judged_together():
    species = np.repeat(["a", "b", "c"], ROWS // 3)
    separates_one = np.where(species == "a", 9.0, 0.0) + NOISE
    assert found({"part": separates_one}, species) == {}
    all_of_them = np.searchsorted(["a", "b", "c"], species) * 100 + NOISE
    assert ("alone", "all") in found({"all": all_of_them}, species)


def test_a_number_is_predicted_by_a_line_by_steps_and_by_another_unit():
    target = DRAW.lognormal(size=ROWS)
    columns = {
        "line": target * 3 + 0.1 * NOISE, "rank": np.log(target) * 5, "fair": target + NOISE,
        "step": np.where(target > 1, 1.0, 0.0),
    }  # fmt: skip
    kinds = [each for each in found(columns, target, "regression") if each[0] != "alike" and each[0] != "outliers"]
    assert kinds == [("copy", "rank"), ("alone", "line")]


def test_a_moment_after_the_event_is_a_suspect_and_one_before_is_not():
    event = np.arange(ROWS) / 10
    columns = {
        "at": moments(event),
        "resolved": moments(event + 30 + NOISE),
        "joined": moments(event - 300 * DRAW.random(ROWS)),
    }
    one = found(columns, roles={"at": "time"})
    assert [each for each in one if each[0] == "later"] == [("later", "resolved", "at")]


@given(st.integers(0, 2**32 - 1))
def test_noise_is_never_a_suspect(seed):
    draw = np.random.default_rng(seed)
    target = alone.truth(pa.chunked_array([np.where(draw.random(300) < 0.15, "yes", "no")]), task="classification")
    for values in (draw.normal(size=300), draw.integers(0, 5, 300).astype(float)):
        assert alone.power(*bins.codes(pa.chunked_array([values])), target) < 0.9
    number = alone.truth(pa.chunked_array([draw.normal(size=300)]), task="regression")
    assert alone.power(*bins.codes(pa.chunked_array([draw.normal(size=300)])), number) < 0.5


def test_the_figure_is_what_a_tree_with_cross_validation_comes_to():
    from sklearn.model_selection import cross_val_score
    from sklearn.tree import DecisionTreeClassifier

    values = (YES * 3 + NOISE).reshape(-1, 1)
    tree = DecisionTreeClassifier(max_depth=5, min_samples_leaf=25)
    theirs = cross_val_score(tree, values, YES, cv=3, scoring="roc_auc").mean()
    target = alone.truth(pa.chunked_array([CLASSES]), task="classification")
    assert alone.power(*bins.codes(pa.chunked_array([values.ravel()])), target) == pytest.approx(theirs, abs=0.01)


def test_constants_missing_values_outliers_and_a_rare_class_are_told():
    one = found({
        "one": np.ones(ROWS), "nearly": np.where(np.arange(ROWS) < 3, 1.0, 0.0), "fair": NOISE,
        "gone": pa.array(NOISE, mask=DRAW.random(ROWS) < 0.7), "heavy": DRAW.standard_cauchy(ROWS),
    }, np.where(np.arange(ROWS) % 200 == 0, "rare", "usual"))  # fmt: skip
    assert list(one) == [
        ("imbalanced", "target"), ("constant", "one"), ("nearly_constant", "nearly"), ("missing", "gone"),
        ("outliers", "heavy"),
    ]  # fmt: skip
    assert "6 of the sample" in one["imbalanced", "target"]["text"]


def test_a_count_of_rows_is_an_id_and_a_wage_is_none():
    wages = DRAW.choice(200_000, ROWS, replace=False).astype(float)
    shuffled = DRAW.permutation(ROWS).astype(float)
    text = pa.array([f"no {row} is like another" for row in range(ROWS)])
    one = found({"row": np.arange(ROWS) * 7.0, "number": shuffled, "user_id": wages, "wage": wages[::-1], "review": text},
                types={"review": "text"})  # fmt: skip
    assert {each[1] for each in one if each[0] == "id"} == {"row", "number", "user_id"}


def test_numbers_and_categories_that_say_the_same_are_told_with_the_closest_first():
    left = DRAW.choice(["a", "b", "c"], ROWS)
    renamed = np.array([{"a": "x", "b": "y", "c": "z"}[each] for each in left])
    one = found({
        "celsius": NOISE, "kelvin": NOISE + 273.15, "near": -NOISE + 0.1 * DRAW.normal(size=ROWS),
        "other": DRAW.normal(size=ROWS), "left": left, "renamed": renamed, "else": DRAW.choice(["a", "b"], ROWS),
    })  # fmt: skip
    alike = [each for each in one if each[0] == "alike"]
    assert alike == [
        ("alike", "celsius", "kelvin"), ("alike", "left", "renamed"), ("alike", "celsius", "near"),
        ("alike", "kelvin", "near"),
    ]  # fmt: skip
    assert one["alike", "celsius", "near"]["figure"] < -0.95


@given(st.integers(2, 60), st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_categories_of_chance_are_not_alike(left, right, seed):
    draw = np.random.default_rng(seed)
    v = related.cramer(draw.integers(0, left, 800), draw.integers(0, right, 800))
    assert 0 <= v < 0.4
    mine = draw.integers(0, left, 800)
    assert related.cramer(mine, mine) == pytest.approx(1.0, abs=0.01)


def test_a_wide_table_is_compared_up_to_a_cap_that_is_told():
    wide = {f"n{place}": DRAW.normal(size=300) for place in range(320)}
    wide |= {f"c{place}": DRAW.choice(["a", "b"], 300) for place in range(40)}
    wide |= {f"same{place}": wide["n0"] + place for place in range(1)}
    table = pa.table(wide | {"target": CLASSES[:300]})
    told = summarise(schema(table), {"train": table[:150], "validation": table[150:]}, rows=300)
    assert told["left_out"] == [
        "of 321 numbers the first 300 were compared with each other",
        "of 40 categories the first 30 were compared with each other",
    ]
    copies = pa.table({f"n{place}": NOISE * (place + 1) for place in range(10)} | {"target": CLASSES})
    told = summarise(schema(copies), {"train": copies[:600], "validation": copies[600:]}, rows=ROWS)
    assert told["left_out"] == ["25 more pairs of columns say the same"]


def test_every_finding_has_a_sentence_that_names_its_columns():
    one = found(
        {
            "x": np.where(YES, 5.0, 1.0),
            "y": np.ones(ROWS),
            "z": np.arange(ROWS) * 1.0,
            "email": [f"{row}@a.org" for row in range(ROWS)],
        }
    )
    assert len(one) >= 4
    for (_, *columns), each in one.items():
        assert all(re.search(rf"\b{name}\b", each["text"]) for name in columns)
        assert set(each) >= {"kind", "columns", "figure", "unit", "text"}

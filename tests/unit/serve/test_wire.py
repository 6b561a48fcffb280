"""JSON to tables and predictions to JSON: what a client did wrong is a refusal that names row and column."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import GOOD, NUMBERS, SCHEMA, SMALL, ipc

from raymle.data.schema import conform
from raymle.serve import arrow, layout, wire
from raymle.serve.limits import Limits, RequestError

LAYOUT = layout.of(SCHEMA)
NAMES = list(GOOD)


def parse(document) -> pa.Table:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return wire.parse(body, SCHEMA, SMALL)


def refused(document) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(document)
    return caught.value


def places(error: RequestError) -> set[tuple[int | None, str | None]]:
    return {(fault["row"], fault["column"]) for fault in error.rows}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner),
    max_leaves=10,
)


@given(st.one_of(
    st.binary(max_size=200),
    st.builds(lambda key, value: json.dumps({key: value}).encode(), st.sampled_from(["rows", "columns", "x"]), VALUES),
    st.builds(lambda *row: json.dumps({"rows": [dict(zip(NAMES, row, strict=True))]}).encode(), *[VALUES] * 4),
))  # fmt: skip
@settings(max_examples=500)
def test_no_body_gets_past_parse_but_a_table(body):
    try:
        table = wire.parse(body, SCHEMA, SMALL)
    except RequestError as error:
        assert 400 <= error.status < 500  # noqa: PT017  a table is the other good outcome
        json.loads(wire.error(error))
    else:
        assert table.schema == pa.schema(list(LAYOUT.row))


ROW = st.fixed_dictionaries({
    "amount": st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60),
    "plan": st.none() | st.text(),
    "new": st.none() | st.booleans(),
    "at": st.none() | st.datetimes().map(lambda moment: moment.isoformat()),
})  # fmt: skip


@given(ROW)
def test_every_good_row_comes_back_as_it_was_sent(row):
    read = parse({"rows": [GOOD, row]}).to_pylist()[1]
    assert read["plan"] == row["plan"]
    assert read["new"] == row["new"]
    assert read["amount"] == row["amount"] or math.isclose(read["amount"], row["amount"])
    assert (read["at"] is None) == (row["at"] is None)


@given(st.lists(ROW, min_size=1, max_size=20))
def test_rows_columns_and_arrow_say_the_same(rows):
    by_rows = parse({"rows": rows})
    by_columns = parse({"columns": {name: [row[name] for row in rows] for name in NAMES}})
    one_by_one = pa.concat_tables([parse({"rows": [row]}) for row in rows])
    by_arrow = arrow.read(ipc(by_rows), LAYOUT, SMALL)
    assert by_rows == by_columns == one_by_one.combine_chunks() == by_arrow
    assert conform(by_arrow, SCHEMA, target=False) == conform(by_rows, SCHEMA, target=False)


SPELLINGS = st.lists(st.sampled_from(
    ["{", "}", "[", "]", ":", ",", " ", '"', '"a"', '"rows"', '"a:b"', '"\\""', '"\\\\"', "1", "-1", "1e5", "1e999", "NaN",
     "9223372036854775808", "18446744073709551616", "-9223372036854775809", "0.0001234567890123456789", "true", "null",
     '"\\ud800"', '{"a":1,"a":2}', '{"a" :1, "a":2}', '{"rows":[{"amount":1}]}'], ),
    max_size=12,
).map("".join)  # fmt: skip


@given(SPELLINGS | st.builds(lambda text: f'{{"rows": [{{"amount": {text}}}]}}', SPELLINGS))
@settings(max_examples=1000)
def test_the_quick_parser_says_what_the_strict_one_says(text):
    body = text.encode()
    try:
        quick = wire._quick(body)
    except wire._Unsure:
        return
    strict = wire._strict(body)
    assert quick == strict
    assert json.dumps(quick) == json.dumps(strict)


@pytest.mark.parametrize(
    "text", ['"plan": "a", "plan": "b"', '"plan" : "a:b", "plan": "b"', '"plan": "\\":", "plan" :"b"']
)
def test_a_key_that_comes_twice_is_refused_however_it_is_written(text):
    body = json.dumps({"rows": [{"amount": 1, "new": True, "at": "2026-01-31T12:00:00Z"}]})[:-3].encode()
    assert "the same key twice" in str(refused(body + b", " + text.encode() + b"}]}"))


def test_a_long_whole_number_keeps_its_digits_as_a_category():
    assert parse({"rows": [{**GOOD, "plan": 10**25}]})["plan"].to_pylist() == [str(10**25)]
    assert parse({"rows": [{**GOOD, "plan": 2**63}]})["plan"].to_pylist() == [str(2**63)]


@pytest.mark.parametrize("count", [1, 50])
def test_a_whole_number_reads_as_the_text_that_training_saw(count):
    sent = [{**GOOD, "plan": value} for value in (7, 7.0, True, 7.5, None)] * count
    assert parse({"rows": sent})["plan"].to_pylist() == ["7", "7", "true", "7.5", None] * count


@pytest.mark.parametrize("good", [0, 20])
def test_every_fault_is_named_by_row_and_column(good):
    bad = [{**GOOD, "amount": "x", "new": 3}, {"amount": 1}]
    error = refused({"rows": [GOOD] * good + bad})
    assert error.status == 422
    expected = [(0, "amount"), (0, "new"), (1, "plan"), (1, "new"), (1, "at")]
    assert places(error) == {(good + row, column) for row, column in expected}
    assert str(error).startswith(f"row {good}, column 'amount': \"x\" is not a number (and 4 more)")


def test_faults_in_columns_are_named_by_row_and_column_too():
    columns = {
        "amount": [1, "x", 2**2000],
        "plan": ["a", {}, "c"],
        "new": [None, True, 1],
        "at": ["2026-01-31", None, 1],
    }
    assert places(refused({"columns": columns})) == {(1, "amount"), (2, "amount"), (1, "plan"), (2, "new"), (2, "at")}


@pytest.mark.parametrize(("columns", "expected"), [
    ({"amount": [1, 2], "plan": ["a"], "new": [True, False], "at": [None, None]}, {(1, "plan")}),
    ({"amount": 1, "plan": ["a"], "new": [True], "at": [None]}, {(None, "amount")}),
    ({"amount": [1], "new": [True]}, {(None, "plan"), (None, "at")}),
    ({"amount": [1], "plan": ["a"], "new": [True], "at": [None], "id": "c-1"}, {(None, "id")}),
    ({"amuont": [1]}, {(None, "amuont")}),
])  # fmt: skip
def test_columns_that_do_not_make_a_table_are_refused(columns, expected):
    error = refused({"columns": columns})
    assert error.status == 422
    assert places(error) == expected


def test_a_misspelt_column_gets_a_suggestion():
    assert "did you mean 'amount'?" in str(refused({"rows": [{**GOOD, "amuont": 1}]}))


def test_keys_and_target_may_come_and_are_ignored():
    assert parse({"rows": [{**GOOD, "id": "c-1", "churned": [1]}]}).column_names == NAMES


@pytest.mark.parametrize(
    "document", [{"rows": [GOOD] * 5}, {"columns": {name: [value] * 5 for name, value in GOOD.items()}}]
)
def test_more_rows_than_allowed_are_refused(document):
    with pytest.raises(RequestError, match="5 rows in one request; at most 4") as caught:
        wire.parse(json.dumps(document).encode(), SCHEMA, Limits(rows=4))
    assert caught.value.status == 413


def test_classes_come_with_their_probabilities():
    answered = json.loads(wire.answer(np.array([[0.25, 0.75], [0.5, 0.5]]), SCHEMA, "7"))
    assert answered == {
        "predictions": [
            {"class": "yes", "probabilities": {"no": 0.25, "yes": 0.75}},
            {"class": "no", "probabilities": {"no": 0.5, "yes": 0.5}},
        ],
        "version": "7",
    }


def test_regression_answers_numbers():
    assert json.loads(wire.answer(np.array([1.5, -2.0]), NUMBERS, "7")) == {"predictions": [1.5, -2.0], "version": "7"}


def test_rows_without_a_finite_answer_are_named():
    with pytest.raises(RequestError) as caught:
        wire.answer(np.array([1.5, np.nan, np.inf]), NUMBERS, "7")
    assert (caught.value.status, caught.value.kind) == (422, "no_answer")
    assert places(caught.value) == {(1, None), (2, None)}

"""The page of `raymle data show` names what there is: kinds of findings, keys, facts by type."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from raymle.data import summary
from raymle.data.summary import columns, findings
from raymle.records import Column, Schema

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()


def told(heading):
    """Return the words in code of each row's cells, of the table with that heading."""
    rows = re.search(rf"^{re.escape(heading)}\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)[1].splitlines()
    return [[re.findall(r"`(\w+)`", cell) for cell in row.strip("|").split("|")] for row in rows]


def test_every_kind_of_finding_is_there_in_order():
    assert [kind for row in told("| kind | what it says | from |") for kind in row[0]] == list(findings.ORDER)


def test_every_fact_of_every_type_is_there():
    rows = re.findall(r"^\| ([a-z, ]+) \| (`.*) \|$", PAGE[PAGE.index("| type |") :], re.MULTILINE)
    shown = {
        kind: set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", facts)))
        for kinds, facts in rows
        for kind in kinds.split(", ")
    }
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)]
    values = {
        "number": [1.0, 2.0], "category": ["a", "a"], "boolean": [True, False], "text": ["a", "b"],
        "sequence": [[1.0], [2.0, 3.0]],
        "timestamp": pa.array(moments, pa.timestamp("us", "UTC")),
    }  # fmt: skip
    assert set(values) == set(columns.DESCRIBE)
    for kind, each in values.items():
        found = columns.describe(Column(name="it", type=kind, role="feature"), pa.table({"it": each})["it"])
        assert set(found) - {"column", "type", "role", "reason", "private", "evidence"} == shown["all"] | shown[kind]


def test_every_key_of_the_document_is_there():
    table = pa.table({"x": [1.0, 2.0] * 60, "y": ["a", "b"] * 60})
    schema = Schema(
        columns=(Column(name="x", type="number", role="feature"), Column(name="y", type="category", role="target")),
        target="y", task="classification",
    )  # fmt: skip
    document = summary.summarise(schema, {"train": table, "validation": table}, rows=240)
    named = told("| key | |")
    assert [key for row in named for key in row[0]] == ["name", "target", "task", "rows", *document]
    nested = {row[0][0]: set(row[1]) for row in named}
    assert set(document["findings"][0]) == nested["findings"]
    assert set(document["balance"]) <= nested["balance"]
    assert {"column", "type", "role", "reason", "private", "evidence"} <= nested["columns"]

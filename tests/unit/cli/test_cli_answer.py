"""Tables and differences that verbs print."""

from raymle.cli.answer import table
from raymle.config.differences import differences


def test_numbers_stand_to_the_right_and_nothing_trails() -> None:
    text = table(("name", "rows"), [("train", 12000), ("test", 7)])
    assert text == "name     rows\ntrain  12,000\ntest        7"


def test_a_table_without_rows_is_its_head() -> None:
    assert table(("name", "rows"), []) == "name  rows"


def test_only_what_differs_is_named_by_its_path() -> None:
    first = {"train": {"epochs": 5, "seed": 0}, "model": {"params": {}}}
    second = {"train": {"epochs": 9, "seed": 0}, "model": {"params": {"hidden": [4]}}}
    assert differences(first, second) == {
        "train.epochs": (5, 9),
        "model.params": ({}, None),
        "model.params.hidden": (None, [4]),
    }

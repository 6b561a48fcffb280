"""Every kind of data through every verb, as typed, from the template of each.

The steps of one kind depend on each other and run in order; what is particular to a kind has a test file of its own.
"""

import json
import urllib.request
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
import yaml
from shell import Shell, asked


class Kind(NamedTuple):
    """What makes a template small enough for a test."""

    train: tuple[str, ...]
    other: str
    """Another family, to compare with."""


KINDS = {
    "tumours": Kind(("train.epochs=3",), "{type: isolation_forest}"),
    "digits": Kind(("train.epochs=2", "model.params.filters=[8]", "data.image.size=[8, 8]"), "{type: linear}"),
    "sentences": Kind(("train.epochs=1", "model.params.hidden=[]"), "{type: linear}"),
    "weather": Kind(
        ("train.epochs=1", "data.series.window=6", "model={type: mlp, params: {hidden: [16]}}"),
        "{type: trees, params: {rounds: 20}}",
    ),
}
LOOSE = ("promote.require=[]", "promote.min_fresh_rows=10")


class Story(NamedTuple):
    """One kind's folder, and the run that its verbs are about."""

    kind: Kind
    raymle: Shell
    trained: Any
    source: str


@pytest.fixture(scope="module", params=KINDS)
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Begin from a template and train."""
    kind, raymle = KINDS[request.param], Shell(tmp_path_factory.mktemp(request.param))
    raymle("init", "--template", request.param)
    source = yaml.safe_load((raymle.folder / "raymle.yaml").read_text())["data"]["source"]
    return Story(kind, raymle, raymle.json("train", *kind.train, *LOOSE), source)


def test_train_measures_on_validation_and_writes_a_report(story: Story) -> None:
    assert story.trained["metrics"]["validation"]
    assert (story.raymle.folder / "runs" / "runs" / story.trained["run_id"] / "report.html").is_file()


def test_tune_finds_a_run_and_compare_measures_it_beside_the_first(story: Story) -> None:
    search = f"tune.space={{model: {{choice: [{story.kind.other}]}}}}"
    found = story.raymle.json("tune", *story.kind.train, search, "tune.trials=1", "tune.scheduler=none", *LOOSE)
    assert found["study"]["finished"] == 1
    table = story.raymle.json("compare", story.trained["run_id"], found["run_id"])
    assert {row["run_id"] for row in table["rows"]} == {story.trained["run_id"], found["run_id"]}
    assert all(row["latency_ms"] > 0 for row in table["rows"])


def test_reproduce_passes(story: Story) -> None:
    assert story.raymle.json("reproduce", story.trained["run_id"])["verdict"] == "PASS"


def test_score_opens_the_seal_once_and_promote_makes_a_champion(story: Story) -> None:
    scored = story.raymle.json("score", story.trained["run_id"])
    assert scored["runs"][0]["label"] == "test"
    assert story.raymle.json("promote", story.trained["run_id"])["passed"]


def test_predict_says_something_of_every_row(story: Story) -> None:
    found = story.raymle.json("predict", story.trained["run_id"], story.source, "out.parquet")
    table = pq.read_table(story.raymle.folder / "out.parquet")
    assert found["rows"] == table.num_rows >= 400
    assert found["quarantined"] == 0
    assert table["prediction"].null_count == 0


def test_serve_answers_its_own_example(story: Story) -> None:
    with story.raymle.serving(story.trained["run_id"]) as url:
        told = json.load(urllib.request.urlopen(f"{url}/openapi.json", timeout=30))
        status, answer = asked(url, told["components"]["schemas"]["Rows"]["examples"][0])
    assert status == 200, answer
    assert len(answer["predictions"]) == 1


def test_export_is_a_bundle_of_onnx(story: Story) -> None:
    assert story.raymle.json("export", story.trained["run_id"], "exported")["passed"]
    assert (story.raymle.folder / "exported" / "model.onnx").is_file()

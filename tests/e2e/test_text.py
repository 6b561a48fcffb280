"""Texts through every verb as typed: a folder of them with a sub-folder for each class, and a table."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shell import Shell, asked

ROWS = 400
FILL = ("the", "food", "was", "and", "service", "we", "came", "with", "our", "friends", "on", "a", "day", "again")
GOOD, BAD = ("great", "lovely", "tasty", "warm", "happy", "🎉"), ("awful", "cold", "rude", "bland", "slow", "😡")
SPEC = """\
name: mail
data: {source: mail, target: label}
train: {epochs: 4, batch_size: 32, optimizer: {learning_rate: 0.01}}
promote: {min_fresh_rows: 20}
serve: {port: 0}
"""


def texts() -> list[tuple[str, str]]:
    """Return texts and their classes: two words of each say which."""
    draw = np.random.default_rng(0)
    found = []
    for number in range(ROWS):
        label, telling = (("good", GOOD), ("bad", BAD))[number % 2]
        words = [*draw.choice(FILL, draw.integers(3, 12)), *draw.choice(telling, 2)]
        found.append((f"{' '.join(draw.permutation(words))} {number}.", label))
    return found


@pytest.fixture(scope="module")
def raymle(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("text")
    for number, (text, label) in enumerate(texts()):
        path = folder / "mail" / label / f"{number:03}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "raymle.yaml").write_text(SPEC)
    return Shell(folder)


@pytest.fixture(scope="module")
def trained(raymle: Shell) -> Any:
    return raymle.json("train")


def test_a_folder_of_texts_trains(raymle: Shell, trained: Any) -> None:
    assert trained["metrics"]["validation"]["roc_auc"] > 0.95
    columns = {each["column"]: each for each in raymle.json("data", "show")["columns"]}
    assert (columns["text"]["type"], columns["text"]["role"]) == ("text", "feature")
    assert (columns["path"]["role"], columns["label"]["role"]) == ("drop", "target")


def test_sealed_texts_are_scored(raymle: Shell, trained: Any) -> None:
    scored = raymle.json("score", trained["run_id"])
    assert scored["runs"][0]["label"] == "test"
    assert scored["runs"][0]["metrics"]["roc_auc"] > 0.9


def test_predict_takes_any_text_and_export_says_the_same(raymle: Shell, trained: Any) -> None:
    strange = ["great happy", "", None, "🎉🎉", "😡", "שלום", "a\u0301" * 50, "x" * 300_000, "great " * 3000]
    pq.write_table(pa.table({"text": strange}), raymle.folder / "strange.parquet")
    assert raymle.json("predict", trained["run_id"], "strange.parquet", "out.parquet")["quarantined"] == 0
    out = pq.read_table(raymle.folder / "out.parquet")
    chances = out["probability_good"].to_numpy()
    assert np.isfinite(chances).all()
    assert chances[1] == chances[2]
    assert (chances[[0, 3, 8]] > 0.5).all()
    assert chances[4] < 0.5
    raymle("export", trained["run_id"], "exported")
    raymle("predict", "exported", "strange.parquet", "again.parquet")
    again = pq.read_table(raymle.folder / "again.parquet")["probability_good"].to_numpy()
    np.testing.assert_allclose(again, chances, atol=1e-5)


@pytest.fixture(scope="module")
def url(raymle: Shell, trained: Any) -> Iterator[str]:
    with raymle.serving(trained["bundle"]) as found:
        yield found


def test_a_served_model_answers_as_the_batch_does(raymle: Shell, trained: Any, url: str) -> None:
    said = ["great happy lunch 🎉", "", None, "rude and cold"]
    status, answer = asked(url, {"columns": {"text": said}})
    assert status == 200
    pq.write_table(pa.table({"text": said}), raymle.folder / "said.parquet")
    raymle("predict", trained["run_id"], "said.parquet", "said-out.parquet")
    expected = pq.read_table(raymle.folder / "said-out.parquet")["probability_good"].to_numpy()
    np.testing.assert_allclose([each["probabilities"]["good"] for each in answer["predictions"]], expected, atol=1e-5)


def test_a_request_with_half_a_character_is_refused_by_its_row(url: str) -> None:
    status, answer = asked(url, b'{"rows": [{"text": "fine"}, {"text": "\\ud83d"}]}')
    assert status == 422
    assert [(each["row"], each["column"]) for each in answer["error"]["rows"]] == [(1, "text")]
    assert asked(url, b'{"rows": [{"text": "\\ud83c\\udf89"}]}')[0] == 200


def test_the_document_shows_a_sentence_that_works(url: str) -> None:
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=60) as reply:
        schemas = json.load(reply)["components"]["schemas"]
    assert schemas["Row"]["properties"]["text"]["contentMediaType"] == "text/plain"
    assert " " in schemas["Row"]["examples"][0]["text"]
    assert asked(url, schemas["Rows"]["examples"][0])[0] == 200


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (
            ["train", "model={type: trees}"],
            2,
            "column 'text' is text, and model.type trees takes numbers and categories",
        ),
        (["train", "--plan", "model={type: trees}"], 2, "model.type trees takes numbers and categories"),
        (
            ["tune", "--plan", "tune.space={model: {choice: [{type: mlp}, {type: cnn}]}}"],
            2,
            "model.type cnn is for images",
        ),
        (["train", "data.text.tokenizer=none.json"], 3, "none.json cannot be read: No such file or directory"),
        (["train", "data.source=latin"], 3, "a/one.txt is not UTF-8 text at line 2"),
        (["train", "data.source=mail/good/000.txt"], 3, "000.txt is not a kind of file that raymle reads"),
        (["train", "data.source=alone"], 3, "the data has 2 rows, too few to train and validate"),
    ],
)
def test_what_cannot_be_learned_from_is_one_sentence(raymle: Shell, words: list[str], code: int, says: str) -> None:
    for name, content in {
        "latin/a/one.txt": "first\ncafé".encode("latin1"),
        "alone/a/1.txt": b"one",
        "alone/b/2.txt": b"two",
    }.items():
        (raymle.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (raymle.folder / name).write_bytes(content)
    assert says in raymle(*words, code=code).err


def test_a_class_with_one_text_is_trained_with_a_warning_or_named(raymle: Shell) -> None:
    rows = [*texts(), ("one of a kind", "odd")]
    table = pa.table(
        {"text": [text for text, _ in rows], "stars": np.arange(len(rows)) % 5.0, "label": [label for _, label in rows]}
    )
    pq.write_table(table, raymle.folder / "odd.parquet")
    done = raymle(
        "train",
        "data.source=odd.parquet",
        "model={type: transformer, params: {width: 8, hidden: [8]}}",
        "train.epochs=1",
    )
    assert "transformer" in done.out
    assert "too few rows to be both learned and judged: class 'odd' (1)" in done.err
    assert "odd" in raymle("train", "data.source=odd.parquet", "split.method=stratified", code=3).err

"""What is learned of a column of text, and folders of texts."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raymle.config import DataConfig, SplitConfig
from raymle.config.data import TextConfig
from raymle.data import pieces, shards, texts
from raymle.data.infer import infer
from raymle.data.prepare import prepare
from raymle.data.source import resolve
from raymle.data.texts import Text
from raymle.data.transform import Transform
from raymle.errors import DataError, SetupError
from raymle.records import Column, Schema
from raymle.store import open_store

SCHEMA = Schema(
    columns=(Column(name="said", type="text", role="feature"), Column(name="y", type="category", role="target")),
    target="y", task="classification", classes=("no", "yes"),
)  # fmt: skip


def folder_of(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root


def test_the_length_is_that_of_most_texts_and_never_over_256() -> None:
    assert texts.usual_length(np.array([3] * 95 + [1000] * 5)) == 3
    assert texts.usual_length(np.full(10, 1000)) == 256
    assert texts.usual_length(np.zeros(10, np.int64)) == texts.usual_length(np.zeros(0, np.int64)) == 1


def test_the_spec_overrules_length_and_vocabulary() -> None:
    sample = pa.table({"said": ["one two three"] * 4, "y": ["no", "yes"] * 2})
    (usual,) = texts.learn(SCHEMA, sample, TextConfig(), folder=".")
    (given,) = texts.learn(SCHEMA, sample, TextConfig(length=2, vocabulary=500), folder=".")
    assert (usual.length, usual.vocabulary) == (3, 32_768)
    assert (given.length, given.vocabulary) == (2, 500)


def test_a_transform_with_texts_comes_back_from_its_state_and_one_without_them_too() -> None:
    transform = Transform((), (), "y", SCHEMA.classes, texts=(Text(column="said", length=4, vocabulary=300),))
    batch = pa.record_batch({"said": pa.array(["a b", None])})
    again = Transform.from_state(transform.state())
    assert (again.apply(batch).codes == transform.apply(batch).codes).all()
    assert again.inputs.widths == (0, 4, 0)
    older = {name: value for name, value in transform.state().items() if name != "texts"}
    assert Transform.from_state(older).texts == ()


def test_a_tokenizer_that_is_not_there_is_data_and_one_without_its_package_is_set_up(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.text\.tokenizer: .*none\.json cannot be read"):
        texts.tokenizer(TextConfig(tokenizer="none.json"), str(tmp_path))
    (tmp_path / "some.json").write_text("{}")
    error = DataError if find_spec("tokenizers") else SetupError
    with pytest.raises(error) as caught:
        texts.tokenizer(TextConfig(tokenizer="some.json"), str(tmp_path))
    assert find_spec("tokenizers") or "pip install 'raymle[text]'" in caught.value.hint


def test_a_tokenizers_pieces_are_codes_after_the_padding() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.models.WordLevel({"[UNK]": 0, "good": 1, "food": 2}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    text = Text(column="said", length=3, vocabulary=4, tokenizer=tokenizer.to_str())
    assert text.encode(pa.array(["good food", None, "x"])).tolist() == [[2, 3, 0], [0, 0, 0], [1, 0, 0]]


def test_a_tokenizer_that_leaves_ids_out_has_a_code_for_its_largest() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.models.WordLevel({"[UNK]": 0, "good": 1, "food": 9}, unk_token="[UNK]")
    assert pieces.vocabulary(tokenizers.Tokenizer(words).to_str()) == 11


def test_a_folder_is_a_table_of_texts_paths_and_labels(tmp_path: Path) -> None:
    files = {"good/1.txt": "fine\nfood", "bad/2.txt": "\ufeffcold", "bad/deep/3.txt": "", "bad/.hidden.txt": "no"}
    source = resolve("mail", folder=str(folder_of(tmp_path / "mail", files).parent))
    assert source.table is not None
    assert sorted(map(tuple, (row.values() for row in source.table.to_pylist()))) == [
        ("", "bad/deep/3.txt", "bad"), ("cold", "bad/2.txt", "bad"), ("fine\nfood", "good/1.txt", "good"),
    ]  # fmt: skip
    assert source.aside == ("path",)


def test_folders_called_train_and_test_say_which_side_a_text_is_on(tmp_path: Path) -> None:
    names = [f"{side}/{label}/{number}.txt" for side in ("train", "val", "test") for label in "ab" for number in "123"]
    folder_of(tmp_path / "mail", {name: f"the {name} is a text of words" for name in names})
    source = resolve("mail/*/*/*.txt", folder=str(tmp_path))
    schema = infer(source, DataConfig(source="mail", target="label"), by="split")
    assert {each.name: each.role for each in schema.columns} == {
        "text": "feature", "path": "drop", "label": "target", "split": "split"
    }  # fmt: skip


def test_the_same_text_in_two_files_is_on_one_side_and_validation_texts_are_quoted(tmp_path: Path) -> None:
    files = {f"{label}/{copy}{number}.txt": f"the {label} text has {number} words in it, or some more\n" * 20
             for number in range(40) for copy in "xy" for label in ("a", "b")}  # fmt: skip
    folder_of(tmp_path / "mail", files)
    data = DataConfig(source="mail", target="label")
    splits = prepare(data, SplitConfig(), open_store(str(tmp_path / "runs")), folder=str(tmp_path))
    assert "80 of 160 rows repeat another; they stay on one side" in splits.warnings
    quotes = shards.quotes(splits)
    assert quotes is not None
    assert quotes.num_rows == splits.rows["validation"]
    assert {len(text) for text in quotes["text"].to_pylist()} == {200}
    labels = np.array(splits.data_schema.classes)[shards.load(splits, "validation").target]
    assert all(f"the {label} text" in text for label, text in zip(labels, quotes["text"].to_pylist(), strict=True))


def test_a_readme_beside_tables_is_no_text(tmp_path: Path) -> None:
    folder_of(tmp_path / "tables", {"a.csv": "x,y\n1,2\n", "README.txt": "about it"})
    assert resolve("tables", folder=str(tmp_path)).format == "csv"

"""``raymle init`` writes a spec that the loader, an editor and a person can read."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from small_images import folder_of

from raymle import loader
from raymle.cli import app
from raymle.cli.init import SCHEMA, spec_text
from raymle.records import Column, Schema

ROWS = "customer_id,month,plan,calls,constant,churned\n" + "".join(
    f"{index},2026-{index % 12 + 1:02d}-01,{'ab'[index % 2]},{index * 7 % 13},1,{'yes' if index % 3 else 'no'}\n"
    for index in range(100)
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "churn.csv").write_text(ROWS)
    return tmp_path


def test_init_writes_six_lines_with_the_roles_as_comments(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["init", "churn.csv", "--target", "churned"]) == 0
    lines = (folder / "raymle.yaml").read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=./.raymle/raymle.schema.json"
    assert len([line for line in lines if line and not line.lstrip().startswith("#")]) == 6
    assert any(line.startswith("  # key: customer_id") for line in lines)
    assert any(line.split()[1:4] == ["calls", "number", "feature"] for line in lines)
    spec = loader.load(folder)
    assert (spec.name, spec.data.source, spec.data.target) == ("churn", str(folder / "churn.csv"), "churned")
    assert "raymle train" in capsys.readouterr().err


def test_init_writes_the_schema_for_the_editor(folder: Path) -> None:
    app.run(["init", "churn.csv", "--target", "churned"])
    schema = json.loads((folder / SCHEMA).read_text())
    jsonschema.Draft7Validator(schema).validate(yaml.safe_load((folder / "raymle.yaml").read_text()))


def test_an_empty_column_is_left_out_and_a_constant_one_is_only_a_question() -> None:
    schema = Schema(
        columns=(
            Column(name="note", type="category", role="drop", reason="it has no values"),
            Column(name="constant", type="number", role="drop", reason="it has one value"),
            Column(name="y", type="number", role="target"),
        ),
        target="y",
        task="regression",
    )
    text = spec_text(schema, name="x", source="x.csv")
    assert loader.document.read(text, "x").values["data"]["drop"] == ["note"]
    assert "drop?" in next(line for line in text.splitlines() if "constant" in line)


def test_init_answers_in_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["init", "churn.csv", "--target", "churned", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["spec", "schema", "task", "columns"]
    assert {"name": "churned", "role": "target"}.items() <= document["columns"][-1].items()


def test_the_suggestions_can_be_uncommented(folder: Path) -> None:
    app.run(["init", "churn.csv", "--target", "churned"])
    file = folder / "raymle.yaml"
    file.write_text(file.read_text().replace("  # key:", "  key:").replace("  # time:", "  time:"))
    assert loader.load(file).data.key == ("customer_id",)


def test_init_never_writes_over_a_spec(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "raymle.yaml").write_text("mine")
    assert app.run(["init", "churn.csv", "--target", "churned"]) == 8
    assert (folder / "raymle.yaml").read_text() == "mine"
    assert app.run(["init", "churn.csv", "--target", "churned", "--force"]) == 0


def test_a_spec_elsewhere_still_finds_the_data(folder: Path) -> None:
    (folder / "specs").mkdir()
    assert app.run(["init", "churn.csv", "--target", "churned", "-o", "specs/a.yaml"]) == 0
    assert Path(loader.load("specs/a.yaml").data.source).resolve() == folder / "churn.csv"


@pytest.mark.parametrize(
    ("data", "target", "code"), [("churn.csv", "chruned", 3), ("nothing.csv", "churned", 3), ("", "a", 3)]
)
def test_init_leaves_nothing_after_an_error(folder: Path, data: str, target: str, code: int) -> None:
    assert app.run(["init", data, "--target", target]) == code
    assert [path.name for path in folder.iterdir()] == ["churn.csv"]


@pytest.mark.parametrize("name", ["a: b", "# c", "yes", "null", "1e3", "[x", "grüße", "a # b", "'q'", "x,y", " "])
def test_strange_names_are_quoted(name: str) -> None:
    schema = Schema(
        columns=(Column(name=name, type="number", role="target"), Column(name="k\n2", type="text", role="key")),
        target=name,
        task="regression",
    )
    text = spec_text(schema, name="x", source=f"{name}.csv")
    values = loader.document.read(text, "x").values
    assert values["data"] == {"source": f"{name}.csv", "target": name}


def test_sub_folders_of_sides_are_gone_by(folder: Path) -> None:
    for side, rows in (("train", 30), ("validation", 12), ("test", 9)):
        folder_of(folder / "shapes", rows, under=side)
    assert app.run(["init", "shapes", "--target", "label"]) == 0
    assert loader.load(folder).split.method == "column"


def test_a_template_takes_no_target_and_no_other_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["init", "--template", "digits", "-o", "my.yaml", "--target", "t"]) == 2
    assert "leave DATA and --target out" in capsys.readouterr().err
    assert not (folder / "data.py").exists()


def test_what_reads_texts_and_what_forecasts_is_named() -> None:
    columns = (
        Column(name="at", type="timestamp", role="time", reason="the only timestamp"),
        Column(name="note", type="text", role="feature"),
        Column(name="y", type="number", role="target"),
    )
    text = spec_text(Schema(columns=columns, target="y", task="regression"), name="x", source="x.csv")
    assert "# or linear, lstm, transformer" in text
    assert "# task: forecast" in text

"""The command line as typed, on 20,000 real flights: one story, each step a process of its own.

The steps depend on each other and run in order; a process costs seconds, so a step looks at everything it can.
"""

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from shell import Shell

ROOT = Path(__file__).parents[2]
ROWS = 20_000


@pytest.fixture(scope="module")
def raymle(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("cli")
    subprocess.run(
        [sys.executable, str(ROOT / "jobs/flights/data.py"), str(folder / "flights.parquet"), "--rows", str(ROWS)],
        check=True, capture_output=True,
    )  # fmt: skip
    return Shell(folder)


@pytest.fixture(scope="module")
def spec(raymle: Shell) -> Path:
    raymle("init", "flights.parquet", "--target", "late")
    return raymle.folder / "raymle.yaml"


@pytest.fixture(scope="module")
def trained(raymle: Shell, spec: Path) -> Any:
    return raymle("train", "train.epochs=2", "--key", "monday", "--json").json


def test_data_show_and_split_describe_columns_and_sides(raymle: Shell, spec: Path) -> None:
    shown = raymle("data", "show", "--json").json
    roles = {column["column"]: (column["type"], column["role"]) for column in shown["columns"]}
    assert roles["carrier"] == ("category", "feature")
    assert roles["late"][1] == "target"
    assert sum(shown["rows"].values()) == ROWS
    assert sum(shown["sampled"].values()) == shown["rows"]["train"] + shown["rows"]["validation"]
    document = raymle("data", "split", "--json").json
    assert list(document) == ["rows", "fingerprints", "distribution"]
    assert sum(document["rows"].values()) == ROWS
    assert set(document["fingerprints"]) == {"train", "validation", "test"}


def test_data_show_says_what_looks_wrong_and_writes_a_page(raymle: Shell, spec: Path) -> None:
    table = pq.read_table(raymle.folder / "flights.parquet")
    late = [word.as_py() == "yes" for word in table["late"]]
    more = {"refund": [300 + row % 7 if is_late else 0 for row, is_late in enumerate(late)],
            "contact": [f"somebody{row % 999}@example.org" for row in range(ROWS)]}  # fmt: skip
    for name, values in more.items():
        table = table.append_column(name, [values])
    pq.write_table(table, raymle.folder / "more.parquet")
    words = ("data", "show", "data.source=more.parquet", "storage=looked")
    done = raymle(*words, "--output", "pages/data.html")
    assert (
        "column refund alone predicts the target (AUC 1.000): is it known before the event? data.drop: [refund]"
        in done.out
    )
    assert "column contact looks private (e-mail, in 100 % of its values)" in done.out
    assert "page: pages/data.html" in done.err
    html = (raymle.folder / "pages" / "data.html").read_text()
    assert "<svg" in html
    assert "is it known before the event?" in html
    summary = next((raymle.folder / "looked" / "shards").glob("*/summary.json")).read_text()
    assert not any("somebody" in each for each in (done.out, html, summary, raymle(*words, "--json").out))
    assert "--output pages is a folder" in raymle("data", "show", "--output", "pages", code=2).err


def test_a_plan_leaves_nothing_behind(raymle: Shell, spec: Path) -> None:
    before = sorted(raymle.folder.rglob("*"))
    plan = raymle("train", "--plan", "--json", "storage=elsewhere").json
    assert plan["verb"] == "train"
    assert plan["where"]
    assert sorted(raymle.folder.rglob("*")) == before


def test_train_answers_with_one_document(raymle: Shell, trained: Any) -> None:
    assert list(trained) == ["run_id", "status", "task", "metrics", "bundle", "rows", "seconds", "execution"]
    assert (trained["status"], trained["task"], trained["execution"]) == ("finished", "classification", "inline")
    assert trained["metrics"]["validation"]["roc_auc"] > 0.8
    assert sum(trained["rows"].values()) == ROWS
    assert set(trained["seconds"]) == {"prepare", "train", "evaluate", "total"}
    assert Path(trained["bundle"], "MANIFEST.json").is_file()


def test_the_same_key_is_the_same_run(raymle: Shell, trained: Any) -> None:
    assert raymle("train", "train.epochs=2", "--key", "monday", "--json").json == trained


def test_evaluate_repeats_the_validation_and_takes_other_data(raymle: Shell, trained: Any) -> None:
    again = raymle("evaluate", "last", "--json").json
    assert again["metrics"] == pytest.approx(trained["metrics"]["validation"])
    own = raymle("evaluate", trained["bundle"], "flights.parquet", "--json").json
    assert own["rows"] == ROWS


def test_promote_without_a_score_is_refused(raymle: Shell, trained: Any) -> None:
    refused = raymle("promote", trained["run_id"], "--json", code=10).json
    assert list(refused) == ["name", "version", "alias", "passed", "reasons"]
    assert refused["passed"] is False
    assert refused["reasons"]


def test_a_score_is_a_test_once_and_then_the_run_is_champion(raymle: Shell, trained: Any) -> None:
    first = raymle("score", trained["run_id"], "--json").json
    assert set(first) == {"runs", "seal"}
    assert set(first["runs"][0]) == {"run_id", "metrics", "label"}
    assert first["runs"][0]["label"] == "test"
    assert first["seal"] == {"rows": trained["rows"]["test"], "fresh": 0, "spent": trained["rows"]["test"]}
    promoted = raymle("promote", trained["run_id"], "--json").json
    assert (promoted["passed"], promoted["alias"]) == (True, "champion")
    assert [*(raymle.folder / "runs" / "native").glob("*/model.onnx")]  # a server starts with it
    assert raymle("score", trained["run_id"], "--json").json["runs"][0]["label"] == "validation"


def test_the_champion_predicts_a_file(raymle: Shell, trained: Any) -> None:
    done = raymle("predict", "models:/flights@champion", "flights.parquet", "out.parquet", "--json").json
    assert set(done) == {"rows", "output", "seconds", "quarantined", "quarantine"}
    assert done["quarantined"] == 0
    table = pq.read_table(raymle.folder / "out.parquet")
    assert (done["rows"], table.num_rows) == (ROWS, ROWS)
    assert "prediction" in table.column_names


def test_bad_rows_are_put_aside_and_a_plan_starts_nothing(raymle: Shell, trained: Any) -> None:
    table = pq.read_table(raymle.folder / "flights.parquet")
    distance = table["distance"].cast("string").to_pylist()
    distance[7] = "far"
    place = table.schema.get_field_index("distance")
    pq.write_table(table.set_column(place, "distance", [distance]), raymle.folder / "bad.parquet")
    plan = raymle("predict", "last", "bad.parquet", "scores/", "--plan", "--json").json
    assert (plan["verb"], plan["details"]) == ("predict", {"rows": ROWS, "chunks": 1, "done": 0})
    assert not (raymle.folder / "scores").exists()
    done = raymle("predict", "last", "bad.parquet", "scores/", "--json").json
    assert (done["rows"], done["quarantined"]) == (ROWS - 1, 1)
    assert pq.read_table(raymle.folder / "scores").num_rows == ROWS - 1
    aside = pq.read_table(done["quarantine"]).to_pylist()[0]
    assert (aside["quarantine_row"], aside["quarantine_column"], aside["distance"]) == (8, "distance", "far")
    refused = raymle("predict", "last", "bad.parquet", "scores/", "--max-quarantined", "0", code=3)
    assert "column 'distance' is number, but holds 'far'" in refused.err
    assert (raymle.folder / "scores" / "_SUCCESS").is_file()


def test_tune_finds_a_run_that_promote_refuses_on_spent_rows(raymle: Shell, trained: Any) -> None:
    ranges = ["train.optimizer.learning_rate=loguniform:1e-3:1e-2", "tune.trials=2", "train.epochs=1"]
    best = raymle("tune", *ranges, "--json").json
    assert set(best) - set(trained) == {"study", "epochs_saved"}
    assert best["study"]["trials"] == 2
    assert best["study"]["failed"] == 0
    assert raymle("score", best["run_id"], trained["run_id"], "--json").json["runs"][0]["label"] == "validation"
    assert raymle("promote", best["run_id"], "--json", code=10).json["passed"] is False


def test_runs_are_listed_shown_compared_and_removed(raymle: Shell, trained: Any) -> None:
    runs = raymle("runs", "ls", "--json").json
    assert trained["run_id"] in {run["run_id"] for run in runs}
    shown = raymle("runs", "show", trained["run_id"], "--json").json
    assert shown["spec"]["train"]["epochs"] == 2
    other = raymle("train", "train.epochs=1", "train.seed=1", "--json").json["run_id"]
    found = raymle("runs", "diff", trained["run_id"], other, "--json").json
    assert found["spec"] == {"train.epochs": [2, 1], "train.seed": [0, 1]}
    assert other in raymle("runs", "rm", other, "--json").json["removed"]
    raymle("runs", "show", other, code=5)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("train", "train.epoch=1"), 3, "did you mean train.epochs?"),
        (("train", "data.target=laet"), 3, "late"),
        (("train", "train.seed=choice:1,2"), 2, "raymle tune"),
        (("score", "nothing"), 5, "runs ls"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    raymle: Shell, trained: Any, words: tuple[str, ...], code: int, sentence: str
) -> None:
    before = sorted((raymle.folder / "runs" / "runs").iterdir())
    done = raymle(*words, code=code)
    assert done.out == ""
    assert sentence in done.err
    assert sorted((raymle.folder / "runs" / "runs").iterdir()) == before


def test_ctrl_c_ends_the_ui_and_its_server(raymle: Shell, trained: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "raymle", "ui", "--port", str(port)]
    with subprocess.Popen(words, cwd=raymle.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as ui:
        assert ui.stdout is not None
        assert any("running on" in line for line in ui.stdout)
        ui.send_signal(signal.SIGINT)
        ui.stdout.read()
        assert ui.wait(20) == 130
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0

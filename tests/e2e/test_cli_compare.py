"""``raymle compare`` as typed, on a small csv: one story, each step a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

ROWS = 1500
KEYS = {
    "run_id", "model", "quality", "interval", "latency_ms", "latency_p95_ms", "batch_latency_ms", "memory_mb",
    "size_mb", "parameters", "train_seconds", "dollars", "epochs", "pareto", "bands",
}  # fmt: skip
SPEC = """\
name: churn
data: {source: churn.csv, target: churned}
model: {type: mlp, params: {hidden: [32], dropout: 0.0}}
train: {epochs: 3, batch_size: 64}
cluster: {dollars_per_hour: 3.6}
"""


class Shell:
    """A folder to type in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
        done = subprocess.run(
            [sys.executable, "-m", "raymle", *words],
            capture_output=True, text=True, cwd=self.folder, env=environment, timeout=250, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"raymle {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code)[0])

    def runs(self) -> list[str]:
        folder = self.folder / "runs" / "runs"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture(scope="module")
def raymle(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("compare")
    draw = np.random.default_rng(0)
    visits, plan = draw.normal(size=ROWS), draw.choice(["free", "paid"], ROWS)
    noise = draw.normal(scale=0.4, size=ROWS)
    churned = np.where(np.abs(visits) + (plan == "free") + noise > 1.2, "yes", "no")
    table = pa.table({"visits": visits, "plan": plan, "churned": churned})
    pyarrow.csv.write_csv(table, folder / "churn.csv")
    (folder / "raymle.yaml").write_text(SPEC)
    return Shell(folder)


@pytest.fixture(scope="module")
def compared(raymle: Shell) -> Any:
    words = ("raymle.yaml", "model.type=choice:linear,mlp,trees", "--pick", "roc_auc", "--limit", "size_mb <= 100")
    return raymle.json("compare", *words, "--output", "page")


def test_a_plan_leaves_nothing_behind(raymle: Shell) -> None:
    before = sorted(raymle.folder.rglob("*"))
    plan = raymle.json("compare", "model.type=choice:linear,trees", "storage=elsewhere", "--plan")
    assert plan["verb"] == "compare"
    assert plan["dollars"] > 0
    assert sorted(raymle.folder.rglob("*")) == before


def test_each_choice_is_trained_measured_and_compared(raymle: Shell, compared: Any) -> None:
    assert list(compared) == ["machine", "rows", "pick"]
    rows = compared["rows"]
    assert [row["model"] for row in rows] == ["linear", "mlp", "trees"]
    assert all(set(row) == KEYS for row in rows)
    assert [row["run_id"] for row in rows] == raymle.runs()
    for row in rows:
        shown = raymle.json("runs", "show", row["run_id"])
        assert row["quality"] == shown["metrics"]["validation"]["roc_auc"]
        assert row["interval"][0] < row["quality"] < row["interval"][1]
        assert 0 < row["latency_ms"] <= row["latency_p95_ms"]
        assert row["memory_mb"] > 50
        assert row["train_seconds"] == shown["seconds"]["train"]
        assert row["dollars"] == pytest.approx(row["train_seconds"] * 3.6 / 3600)
    linear, mlp, trees = rows
    assert linear["parameters"] < mlp["parameters"]
    assert min(mlp["quality"], trees["quality"]) > linear["quality"]
    assert compared["pick"] == max(rows, key=lambda row: row["quality"])["run_id"]
    assert any(row["pareto"] for row in rows)
    assert {path.name for path in (raymle.folder / "page").iterdir()} == {"tradeoff.html", "tradeoff.png"}


def test_runs_are_compared_again_with_a_table_for_people_and_a_page(raymle: Shell, compared: Any) -> None:
    linear, mlp, _ = (row["run_id"] for row in compared["rows"])
    out, err = raymle("compare", linear, mlp, "--pick", "quality", "--limit", "memory_mb <= 5000")
    assert "Inference latency" in out
    assert f"pick: mlp, run {mlp}: the highest quality" in out
    page = Path(err.partition("page: ")[2].strip())
    assert page.is_file()
    assert page.parents[1] == raymle.folder / "runs" / "compare"
    assert len(raymle.runs()) == 3


def test_limits_that_nobody_meets_have_exit_code_10_and_the_nearest_miss(raymle: Shell, compared: Any) -> None:
    ids = [row["run_id"] for row in compared["rows"][:2]]
    out, err = raymle("compare", *ids, "--limit", "memory_mb <= 1", "--json", code=10)
    assert json.loads(out)["pick"] is None
    assert "the nearest miss is " in err
    assert "memory_mb <= 1 is required" in err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("last", "--limit", "latncy_ms <= 5"), 3, "did you mean latency_ms?"),
        (("model.type=choice:linear,mlp", "--pick", "roc_acu"), 3, "did you mean roc_auc?"),
        (("last", "--limit", "latency_ms is low"), 3, "is not a condition"),
        (("model.type=choice:linear,mpl",), 3, "'mpl' is none of linear"),
        (("train.optimizer.learning_rate=loguniform:1e-4:1e-1",), 2, "range of numbers"),
        (("split.seed=choice:1,2",), 2, "other rows would judge"),
        (("raymle.yaml",), 2, "choices to train"),
        ((), 2, "compare needs runs"),
        (("nothing",), 5, "runs ls"),
        (("last", "--output", "churn.csv"), 2, "churn.csv is a file"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_trained(
    raymle: Shell, compared: Any, words: tuple[str, ...], code: int, sentence: str
) -> None:
    out, err = raymle("compare", *words, code=code)
    assert out == ""
    assert sentence in err
    assert len(raymle.runs()) == 3


def test_runs_of_other_splits_are_not_compared(raymle: Shell, compared: Any) -> None:
    other = raymle.json("train", "split.seed=1", "train.epochs=1")["run_id"]
    _, err = raymle("compare", compared["rows"][0]["run_id"], other, code=8)
    assert "were judged on other rows" in err
    raymle("runs", "rm", other)

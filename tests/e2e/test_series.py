"""A forecast through every verb, as typed: moments in, windows inside, one answer a moment and series."""

import json
import os
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

SPEC = """
name: small
data:
  source: small.csv
  target: temp
  time: at
  group: site
  series: {window: 12, season: 12}
model: {type: lstm, params: {width: 8, hidden: [8]}}
train: {epochs: 2, batch_size: 64, early_stopping: null, optimizer: {learning_rate: 0.01}}
tune: {trials: 2, space: {train.optimizer.learning_rate: {loguniform: [1e-3, 1e-1]}}}
promote: {min_fresh_rows: 10}
"""
HOURS, WINDOW = 200, 12
START = datetime(2026, 1, 1, tzinfo=UTC)


def moments(hours=HOURS, sites=("north", "south")):
    """Two sites that swing with the hour of the day, and a wind that says nothing."""
    draw = np.random.default_rng(0)
    parts = []
    for place, site in enumerate(sites):
        at = [START + timedelta(hours=hour) for hour in range(hours)]
        temp = 10 * place + 5 * np.sin(np.arange(hours) / 12 * 2 * np.pi) + draw.normal(scale=0.2, size=hours)
        parts.append(pa.table({"at": at, "site": [site] * hours, "temp": temp, "wind": draw.normal(size=hours)}))
    return pa.concat_tables(parts)


class Shell:
    """A folder to type in, with moments and a spec."""

    def __init__(self, folder, spec=SPEC):
        self.folder = folder
        pa.csv.write_csv(moments(), folder / "small.csv")
        (folder / "raymle.yaml").write_text(spec)

    def __call__(self, *words, code=0):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
        done = subprocess.run(
            [sys.executable, "-m", "raymle", *words],
            capture_output=True, text=True, cwd=self.folder, env=environment, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"raymle {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words, code=0):
        return json.loads(self(*words, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def raymle_(tmp_path_factory):
    return Shell(tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="module")
def trained(raymle_):
    return raymle_.json("train")


def test_a_plan_says_what_is_forecast(raymle_):
    plan = raymle_.json("train", "--plan")
    assert "predicts temp+1 (forecast)" in plan["what"]
    assert "split by time" in plan["steps"][1]


def test_training_measures_the_baselines_beside_the_model(raymle_, trained):
    found = trained["metrics"]["validation"]
    assert {"mae", "rmse", "skill", "seasonal_naive_mae", "seasonal_naive_rmse", "last_value_mae"} <= set(found)
    assert found["seasonal_naive_mae"] < found["last_value_mae"], "the series repeats itself"
    assert found["skill"] == pytest.approx(1 - found["mae"] / found["seasonal_naive_mae"])
    assert trained["task"] == "forecast"
    windows = 2 * (HOURS - WINDOW)
    assert sum(trained["rows"].values()) == windows
    report = (raymle_.folder / "runs" / "runs" / trained["run_id"] / "report.html").read_text()
    assert "Against simple forecasts" in report
    assert "Backtest by rolling origin" in report
    assert "2026-01-0" in report


def test_it_is_reproduced_and_compared(raymle_, trained):
    other = raymle_.json("train", "model={type: trees, params: {rounds: 40, min_data_in_leaf: 5}}", "train.seed=1")
    assert raymle_.json("reproduce", trained["run_id"])["verdict"] == "PASS"
    table = raymle_.json("compare", trained["run_id"], other["run_id"])
    assert {row["run_id"] for row in table["rows"]} == {trained["run_id"], other["run_id"]}


def test_a_batch_prediction_answers_each_moment_and_the_next(raymle_, trained):
    found = raymle_.json("predict", trained["run_id"], "small.csv", "out.parquet")
    table = pq.read_table(raymle_.folder / "out.parquet")
    assert found["rows"] == table.num_rows == 2 * (HOURS - WINDOW + 1)
    assert table.column_names == ["at", "site", "prediction"]
    last = table.slice(table.num_rows - 2).to_pylist()
    assert [row["site"] for row in last] == ["north", "south"]
    assert {row["at"] for row in last} == {START + timedelta(hours=HOURS)}
    assert last[0]["prediction"] < last[1]["prediction"], "the south is ten degrees warmer"


def test_a_served_model_says_of_a_window_what_a_batch_says(raymle_, trained):
    server = subprocess.Popen(
        [sys.executable, "-m", "raymle", "serve", trained["run_id"], "--port", "0", "--json"],
        cwd=raymle_.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = server.stdout.readline()
        assert line, server.communicate()[1][-2000:]
        url = json.loads(line)["url"]
        told = json.load(urllib.request.urlopen(f"{url}/openapi.json", timeout=30))
        example = told["components"]["schemas"]["Rows"]["examples"][0]
        assert len(example["rows"][0]["temp"]) == WINDOW
        assert len(_ask(url, example)["predictions"]) == 1
        table = moments(sites=("north",))
        row = {name: table[name].to_pylist()[-WINDOW:] for name in ("temp", "wind")}
        answer = _ask(url, {"rows": [row | {"at": (START + timedelta(hours=HOURS)).isoformat()}]})
    finally:
        server.terminate()
        server.wait(60)
    raymle_("predict", trained["run_id"], "small.csv", "same.parquet")
    batch = pq.read_table(raymle_.folder / "same.parquet").to_pylist()
    assert answer["predictions"][0] == pytest.approx(batch[-2]["prediction"], abs=1e-3)


def _ask(url, document):
    request = urllib.request.Request(
        f"{url}/predict", json.dumps(document).encode(), {"Content-Type": "application/json"}
    )
    return json.load(urllib.request.urlopen(request, timeout=30))


def test_labelled_moments_of_later_days_are_judged(raymle_, trained):
    pa.csv.write_csv(moments(hours=60), raymle_.folder / "later.csv")
    found = raymle_.json("evaluate", trained["run_id"], "later.csv")
    assert found["rows"] == 2 * (60 - WINDOW)
    assert "skill" in found["metrics"]


def test_a_search_a_score_and_a_promotion(raymle_, trained):
    best = raymle_.json("tune")
    assert best["study"]["finished"] == 2
    scored = raymle_.json("score", best["run_id"], "--output", "rows.csv")
    assert scored["runs"][0]["label"] == "test"
    assert "skill" in scored["runs"][0]["metrics"]
    assert "prediction" in (raymle_.folder / "rows.csv").read_text().splitlines()[0]
    assert raymle_.json("promote", best["run_id"])["passed"]
    assert raymle_.json("predict", "models:/small@champion", "small.csv", "best.parquet")["rows"]


def test_an_export_is_a_bundle_of_its_own(raymle_, trained):
    made = raymle_.json("export", trained["run_id"], "exported")
    assert made["passed"]
    assert raymle_.json("predict", "exported", "small.csv", "from-export.parquet")["rows"] == 2 * (HOURS - WINDOW + 1)

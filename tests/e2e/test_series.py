"""A forecast through every verb, as typed: moments in, windows inside, one answer a moment and series."""

import json
import urllib.request
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from shell import Shell, asked

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


@pytest.fixture(scope="module")
def raymle_(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    pa.csv.write_csv(moments(), folder / "small.csv")
    (folder / "raymle.yaml").write_text(SPEC)
    return Shell(folder)


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
    with raymle_.serving(trained["run_id"]) as url:
        told = json.load(urllib.request.urlopen(f"{url}/openapi.json", timeout=30))
        assert len(told["components"]["schemas"]["Rows"]["examples"][0]["rows"][0]["temp"]) == WINDOW
        table = moments(sites=("north",))
        row = {name: table[name].to_pylist()[-WINDOW:] for name in ("temp", "wind")}
        _, answer = asked(url, {"rows": [row | {"at": (START + timedelta(hours=HOURS)).isoformat()}]})
    raymle_("predict", trained["run_id"], "small.csv", "same.parquet")
    batch = pq.read_table(raymle_.folder / "same.parquet").to_pylist()
    assert answer["predictions"][0] == pytest.approx(batch[-2]["prediction"], abs=1e-3)


def test_labelled_moments_of_later_days_are_judged(raymle_, trained):
    pa.csv.write_csv(moments(hours=60), raymle_.folder / "later.csv")
    found = raymle_.json("evaluate", trained["run_id"], "later.csv")
    assert found["rows"] == 2 * (60 - WINDOW)
    assert "skill" in found["metrics"]


def test_a_scored_forecast_has_its_skill_and_its_rows(raymle_, trained):
    scored = raymle_.json("score", trained["run_id"], "--output", "rows.csv")
    assert "skill" in scored["runs"][0]["metrics"]
    assert "prediction" in (raymle_.folder / "rows.csv").read_text().splitlines()[0]

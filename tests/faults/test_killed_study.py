"""One study that is killed and stopped again and again, and goes on as a user would have it go on.

The steps depend on each other and run in order, each a process of its own.
"""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from mlflow import MlflowClient

from raymle.store import open_store
from raymle.tracking import journal, studies

TRIALS = 6
SPEC = f"""
name: hunt
data: {{source: rows.csv, target: y}}
model: {{type: "held:make", params: {{hold: HOLD}}}}
train: {{epochs: 12, batch_size: 16, early_stopping: null}}
tune:
  trials: {TRIALS}
  scheduler: hyperband
  fuse: false
  space: {{train.optimizer.learning_rate: {{loguniform: [1e-4, 1e-1]}}}}
"""
NET = """
import time
from pathlib import Path
import torch
class Net(torch.nn.Sequential):
    def __init__(self, inputs, outputs, hold):
        super().__init__(torch.nn.Linear(inputs.numbers, 16), torch.nn.Tanh(), torch.nn.Linear(16, outputs))
        self.hold = Path(hold)
    def forward(self, numbers, categories):
        while self.hold.exists():
            time.sleep(0.01)
        return super().forward(numbers)
def make(inputs, outputs, hold): return Net(inputs, outputs, hold)
"""
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
TOLD, ENDED = '"op_code":7', '"op_code":6'
"""Lines of Optuna's journal: an epoch of a trial, and the end of one."""


class Hunt:
    """A folder with a spec and a table, and what is in its storage."""

    def __init__(self, folder):
        self.folder = folder
        self.runs, self.hold = folder / "runs" / "runs", folder / "hold"

    def begin(self, *words):
        return subprocess.Popen(
            [sys.executable, "-m", "raymle", "tune", *words, "--json"], cwd=self.folder, env=ENVIRONMENT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words, code=0):
        process = self.begin(*words)
        out, told = process.communicate(timeout=250)
        assert process.returncode == code, told
        assert "Traceback" not in told
        return (json.loads(out) if out else None), told

    @property
    def study(self):
        return studies.find(open_store(str(self.folder / "runs")), "last")

    def lines(self, kind):
        return sum(path.read_text().count(kind) for path in self.folder.glob("runs/studies/*/optuna.log"))

    def reach(self, process, kind, more):
        """Wait until a running study has told so many more lines of a kind."""
        wanted = self.lines(kind) + more
        while self.lines(kind) < wanted:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)

    def ends(self):
        """Return the trials that are over, with when their ends and their bundles were written."""
        return {
            path.parent.name: [each.stat().st_mtime_ns for each in (path, *path.parent.glob("bundle/MANIFEST.json"))]
            for path in self.runs.glob("*/trial.json")
        }


@pytest.fixture(scope="module")
def hunt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hunt")
    draw = np.random.default_rng(0)
    numbers = {f"x{column}": draw.normal(size=3000) for column in range(4)}
    target = np.where(numbers["x0"] * numbers["x1"] + numbers["x2"] > 0, "yes", "no")
    pyarrow.csv.write_csv(pa.table({**numbers, "y": target}), folder / "rows.csv")
    (folder / "raymle.yaml").write_text(SPEC.replace("HOLD", str(folder / "hold")))
    (folder / "held.py").write_text(NET)
    return Hunt(folder)


@pytest.fixture(scope="module")
def seen():
    """What each step leaves for the next: the trials that are over."""
    return {}


@pytest.mark.parametrize(
    ("words", "kind", "more"), [((), TOLD, 3), (("--resume", "last"), ENDED, 1), (("--resume", "last"), TOLD, 9)],
    ids=["after its first epochs", "as a trial ends", "in the middle of others"],
)  # fmt: skip
def test_a_study_is_killed(hunt, seen, words, kind, more):
    process = hunt.begin(*words)
    hunt.reach(process, kind, more)
    hunt.hold.touch()  # its trials wait in the middle of an epoch
    if not words:
        _, told = hunt.run("--resume", "last", code=8)
        assert f"another process works on study {hunt.study}" in told
    process.kill()
    process.communicate()
    hunt.hold.unlink()
    ends = hunt.ends()
    assert {name: ends[name] for name in seen} == seen, "what was over ran again"
    seen.update(ends)


def test_ctrl_c_stops_it_and_says_how_it_goes_on(hunt, seen):
    process = hunt.begin("--resume", "last")
    hunt.reach(process, TOLD, 1)
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - sent < 10
    assert f"stopped; the same command with --resume {hunt.study} goes on" in told
    assert "Traceback" not in told
    seen.update(hunt.ends())


def test_it_comes_to_its_end_and_nothing_was_done_twice(hunt, seen):
    best, _ = hunt.run("--resume", "last")
    require_more(hunt, seen, best, trials=TRIALS)
    assert best["study"]["resumed"] >= 1


def test_more_trials_and_a_wider_space_continue_it(hunt, seen):
    wider = "train.optimizer.learning_rate=loguniform:1e-5:1"
    best, told = hunt.run(f"tune.trials={TRIALS + 4}", wider, "--resume", "last")
    assert f"goes on: {TRIALS} of {TRIALS + 4} trials are done" in told
    require_more(hunt, seen, best, trials=TRIALS + 4)
    assert best["study"]["resumed"] == TRIALS


def test_a_study_of_other_data_does_not_go_on(hunt):
    with (hunt.folder / "rows.csv").open("a") as file:
        file.write("0,0,0,0,yes\n")
    _, told = hunt.run("--resume", "last", "tune.trials=20", code=8)
    assert f"the data have changed since run {hunt.study} began" in told


def require_more(hunt, seen, best, *, trials):
    """Check that a study has come to its end, with what was over before as it was."""
    ends, study = hunt.ends(), best["study"]
    assert {name: ends[name] for name in seen} == seen, "what was over ran again"
    assert (study["id"], study["trials"]) == (hunt.study, trials)
    assert study["finished"] + study["stopped_early"] == trials == len(ends)
    scores = {name: json.loads((hunt.runs / name / "trial.json").read_text())["score"] for name in ends}
    assert scores[best["run_id"]] == max(scores.values())
    require_once(hunt, best)
    seen.update(ends)


def require_once(hunt, best):
    """Check the journals and MLflow: one study, its trials under it, each setting and each epoch told once."""
    client = MlflowClient(f"sqlite:///{hunt.folder}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("hunt").experiment_id
    runs = {run.data.tags["raymle.run_id"]: run for run in client.search_runs([experiment])}
    study = runs.pop(best["study"]["id"])
    assert study.info.status == "FINISHED"
    assert study.data.tags["raymle.best_run"] == best["run_id"]
    assert len(study.outputs.model_outputs) >= 1
    assert study.data.metrics["trials"] == best["study"]["trials"]
    assert set(runs) == set(hunt.ends())
    for name, run in runs.items():
        assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
        kept = json.loads((hunt.runs / name / "trial.json").read_text())
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "validation_loss")]
        events = [entry.event for entry in journal.read(hunt.folder / "runs" / "journals" / f"{name}.jsonl")]
        told = [event["step"] for event in events if event["do"] == "metrics" and "validation_loss" in event["values"]]
        assert sorted(steps) == told == [epoch["epoch"] for epoch in kept["history"]]
        assert run.info.status == ("FINISHED" if kept["state"] == "finished" else "KILLED")

"""Runs that are killed and stopped from outside, and go on as a user would have them go on."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet
import pytest
from mlflow import MlflowClient

from raymle.store import open_store
from raymle.tracking import journal, shelf

SPEC = """
name: held
data: {source: rows.parquet, target: y}
model: {type: mlp, params: {hidden: [32], dropout: 0.1}}
train: {epochs: 60, batch_size: 32, early_stopping: null}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("held")
    draw = np.random.default_rng(0)
    numbers = {f"x{column}": draw.normal(size=5000) for column in range(6)}
    target = np.where(numbers["x0"] * numbers["x1"] + numbers["x2"] > 0, "yes", "no")
    pyarrow.parquet.write_table(pa.table({**numbers, "y": target}), place / "rows.parquet")
    (place / "raymle.yaml").write_text(SPEC)
    return place


def command(*words):
    return [sys.executable, "-m", "raymle", *words]


def run(folder, *words):
    done = subprocess.run(
        command(*words, "--json"), cwd=folder, capture_output=True, text=True, timeout=250, check=False
    )
    return done, json.loads(done.stdout) if done.stdout else None


def disturbed(folder, epoch, signals, *words):
    """Start a training, send signals when an epoch is told, and return its end, its lines, seconds and processes.

    A kill waits for a checkpoint besides: there is none in the first second.
    """
    process = subprocess.Popen(
        command("train", *words), cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    lines, sent, children = [], None, []
    started = len(checkpoints(folder))
    for line in process.stderr:
        lines.append(line)
        told = re.match(r"epoch (\d+)/", line)
        is_kept = signal.SIGKILL not in signals or len(checkpoints(folder)) > started
        if sent is None and told and int(told[1]) >= epoch and is_kept:
            children = psutil.Process(process.pid).children(recursive=True)
            sent = time.monotonic()
            for number in signals:
                process.send_signal(number)
    code = process.wait(timeout=60)
    return code, "".join(lines), time.monotonic() - sent, children


def checkpoints(folder):
    """Return the runs that have whole checkpoints."""
    return {manifest.parents[2] for manifest in folder.glob("runs/runs/*/checkpoints/[0-9]*/MANIFEST.json")}


def validation(answer):
    return answer["metrics"]["validation"]


def epochs_of(folder, run_id):
    """Return the steps at which the run's journal has an epoch, as often as it has them."""
    entries = journal.read(folder / "runs" / "journals" / f"{run_id}.jsonl")
    events = [entry.event for entry in entries]
    return [each["step"] for each in events if each["do"] == "metrics" and "validation_loss" in each["values"]]


def mlflow_of(folder, run_id):
    """Return the status of the run in MLflow, and the steps at which it has an epoch."""
    client = MlflowClient(f"sqlite:///{folder}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("held").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`raymle.run_id` = '{run_id}'")
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "validation_loss")]
    return run.info.status, sorted(steps)


@pytest.fixture(scope="module")
def whole(folder):
    return run(folder, "train")[1]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
    ids=["Ctrl-C", "terminated", "killed"],
)  # fmt: skip
def test_a_run_goes_on_where_it_was_left(folder, whole, number, code):
    ended, told, seconds, _ = disturbed(folder, 12, [number])
    assert ended == code
    if number != signal.SIGKILL:
        assert seconds < 10
        assert "stopping with a checkpoint" in told
    stopped = shelf.every(open_store(str(folder / "runs")))[0]
    assert stopped.status == "killed"
    done, answer = run(folder, "train", "--resume", "last")
    assert done.returncode == 0, done.stderr
    assert answer["run_id"] == stopped.run_id
    assert f"run {stopped.run_id} goes on from epoch" in done.stderr
    assert validation(answer) == validation(whole)
    assert epochs_of(folder, stopped.run_id) == list(range(1, 61))
    assert mlflow_of(folder, stopped.run_id) == ("FINISHED", list(range(1, 61)))
    assert {path.name for path in (folder / "runs" / "runs" / stopped.run_id).iterdir()} >= {"bundle", "record.json"}
    assert not (folder / "runs" / "runs" / stopped.run_id / "checkpoints").exists()
    again, _ = run(folder, "train", "--resume", stopped.run_id)
    assert again.returncode == 8
    assert "is finished: there is nothing to resume" in again.stderr


def test_the_second_signal_ends_it_at_once(folder):
    code, told, seconds, _ = disturbed(folder, 3, [signal.SIGINT, signal.SIGINT])
    assert code == 130
    assert "epoch 6/" not in told  # of 60: it went on with nothing
    assert seconds < 10


def test_two_workers_go_on_after_their_driver_was_killed(folder):
    words = ("train.workers=2", "train.epochs=30")
    _, expected = run(folder, "train", *words)
    code, _, _, children = disturbed(folder, 5, [signal.SIGKILL], *words)
    assert code == -9
    done, answer = run(folder, "train", *words, "--resume", "last")
    assert done.returncode == 0, done.stderr
    assert validation(answer) == validation(expected)
    assert f"run {answer['run_id']} goes on from epoch" in done.stderr
    assert epochs_of(folder, answer["run_id"]) == list(range(1, 31))
    _, alive = psutil.wait_procs(children, timeout=90)  # Ray's agents look for their node once a minute
    assert not [process.name() for process in alive]


def test_what_cannot_go_on_says_why(folder, whole):
    cases = {
        ("--resume", "model.pt"): (9, "model.pt is a pickle"),
        ("--resume", "20200101-000000-abcdef"): (5, "there is no run"),
        ("--resume", whole["run_id"]): (8, "is finished"),
        ("--resume", "last", "--key", "k"): (2, "do not go together"),
        ("--resume", "last", "--plan"): (2, "do not go together"),
    }
    for words, (code, said) in cases.items():
        done, _ = run(folder, "train", *words)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_other_settings_and_damaged_checkpoints_are_refused(folder):
    disturbed(folder, 12, [signal.SIGINT])
    store = open_store(str(folder / "runs"))
    stopped = shelf.every(store)[0].run_id
    done, _ = run(folder, "train", "model.params.hidden=[8]", "--resume", "last")
    assert done.returncode == 8
    assert "was started with other settings: model.params.hidden is [32] there and [8] here" in done.stderr
    kept = sorted((folder / "runs" / "runs" / stopped / "checkpoints").iterdir())
    for place in kept:
        (place / "state.safetensors").write_bytes(b"torn")
    done, _ = run(folder, "train", "--resume", "last")
    assert done.returncode == 5
    assert f"every checkpoint of run {stopped} is damaged" in done.stderr
    assert "train anew" in done.stderr

"""``raymle reproduce`` as typed: what passes, what fails and why, what is kept of it. A process costs seconds."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

import raymle

NAMES = ["data", "source", "splits", "environment", "machine", "seed and threads", "training", "metrics", "weights"]
SPEC = """
name: small
data: {source: small.csv, target: late, key: id}
train: {epochs: 3, batch_size: 64, early_stopping: null}
promote: {min_fresh_rows: 10}
"""
OWN = """
name: own
data: {source: small.csv, target: late, key: id, transforms: ['features:widen']}
model: {type: 'net:make', params: {width: 16}}
train: {epochs: 2, batch_size: 64, loss: 'net:loss', loop: 'net:loop'}
evaluate: {metrics: ['net:profit']}
"""
FEATURES = """
import pyarrow as pa
import pyarrow.compute as pc
import helper

def widen(table):
    return table.append_column("twice", pc.multiply(table["size"], helper.FACTOR))
"""
NET = """
import numpy as np
import torch
from torch.nn import functional
import helper

def make(inputs, outputs, width):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(inputs.numbers, width)
            self.outer = torch.nn.Linear(width, outputs)
        def forward(self, numbers, categories):
            return self.outer(torch.relu(self.inner(numbers))) * helper.FACTOR
    return Net()

def loss(outputs, targets):
    return functional.cross_entropy(outputs, targets, reduction="none") * helper.FACTOR

def loop(context):
    import late  # found when the loop runs, and not before
    rows, optimizer = context.train, torch.optim.SGD(context.model.parameters(), lr=late.RATE)
    for epoch in range(context.params.epochs):
        order = np.random.default_rng([context.params.seed, epoch]).permutation(len(rows.target))
        for part in np.array_split(order, 8):
            optimizer.zero_grad()
            outputs = context.model(
                numbers=torch.from_numpy(np.array(rows.numbers[part])),
                categories=torch.from_numpy(np.array(rows.codes[part], np.int64)),
            )
            loss(outputs, torch.from_numpy(np.array(rows.target[part]))).mean().backward()
            optimizer.step()
        yield context.report()

def profit(truth, chance):
    return float((truth[chance > 0.5] * 20 - 5).sum()) * helper.FACTOR
"""


class Shell:
    """A folder to type in, with data and a spec."""

    def __init__(self, folder, spec=SPEC):
        self.folder = folder
        draw = np.random.default_rng(0)
        size, colour = draw.normal(size=900), draw.choice(["red", "green"], 900)
        late = np.where(size + (colour == "red") + draw.normal(scale=0.5, size=900) > 0.5, "yes", "no")
        table = pa.table({"id": range(900), "size": size, "colour": colour, "late": late})
        pyarrow.csv.write_csv(table, folder / "small.csv")
        (folder / "raymle.yaml").write_text(spec)

    def __call__(self, *words, code=0):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
        done = subprocess.run(
            [sys.executable, "-m", "raymle", *words],
            capture_output=True, text=True, cwd=self.folder, env=environment, timeout=250, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"raymle {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words, code=0):
        return json.loads(self(*words, "--json", code=code).stdout)

    def reproduce(self, run_id, *words, code=0):
        """Reproduce, and return each check's verdict and detail."""
        before = sorted(self.folder.glob("runs/.*"))
        found = self.json("reproduce", run_id, *words, code=code)
        assert found["verdict"] == ("FAIL" if code else "PASS"), found
        assert sorted(self.folder.glob("runs/.*")) == before, "room to work in goes"
        return {each["name"]: (each["verdict"], each["detail"]) for each in found["checks"]}


@pytest.fixture(scope="module")
def raymle_(tmp_path_factory):
    return Shell(tmp_path_factory.mktemp("reproduce"))


@pytest.fixture(scope="module")
def trained(raymle_):
    return raymle_.json("train")["run_id"]


def verdicts(found):
    return {name: verdict for name, (verdict, _) in found.items()}


def tags(folder, run_id):
    """Return MLflow's tags of a run, and how many runs it has."""
    with closing(sqlite3.connect(folder / "runs" / "mlflow.db")) as base:
        rows = base.execute(
            "select key, value from tags where run_uuid in (select run_uuid from tags where value = ?)", [run_id]
        ).fetchall()
        return dict(rows), base.execute("select count(*) from runs").fetchone()[0]


def test_a_plan_says_where_and_how_long_and_starts_nothing(raymle_, trained):
    before = sorted(raymle_.folder.rglob("*"))
    plan = raymle_.json("reproduce", trained, "--plan")
    assert (plan["verb"], plan["where"]) == ("reproduce", "inline")
    assert plan["seconds"] > 0
    assert sorted(raymle_.folder.rglob("*")) == before


def test_a_run_passes_is_told_in_one_document_and_adds_no_run(raymle_, trained):
    runs = tags(raymle_.folder, trained)[1]
    found = raymle_.json("reproduce", "last")
    assert list(found) == ["run_id", "verdict", "checks", "seconds"]
    assert (found["run_id"], found["verdict"]) == (trained, "PASS")
    assert [list(each) for each in found["checks"]] == [["name", "verdict", "detail"]] * len(NAMES)
    assert [each["name"] for each in found["checks"]] == NAMES
    assert found["checks"][-1] == {"name": "weights", "verdict": "same", "detail": "bitwise equal"}
    told, now = tags(raymle_.folder, trained)
    assert now == runs
    assert told["raymle.reproduced"].startswith("PASS 20")
    assert "Reproduced: **PASS** on 20" in told["mlflow.note.content"]
    assert "(weights bitwise equal)" in told["mlflow.note.content"]
    assert raymle_.json("runs", "show", trained)["reproduced"]["verdict"] == "PASS"
    assert not list(raymle_.folder.glob("runs/ledger/*")), "no sealed row was opened"


def test_score_and_reproduce_leave_each_other_on_the_card(raymle_, trained):
    raymle_("score", trained)
    card = tags(raymle_.folder, trained)[0]["mlflow.note.content"]
    assert "reaches test roc_auc" in card
    assert "Reproduced: **PASS**" in card
    done = raymle_("reproduce", trained, "--tolerance", "0")
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == [*NAMES, "PASS"]
    card = tags(raymle_.folder, trained)[0]["mlflow.note.content"]
    assert "reaches test roc_auc" in card
    assert "the score counts as test" in card
    assert card.count("Reproduced: **PASS**") == 1
    assert sorted(path.name for path in raymle_.folder.glob("runs/runs/*/reproduced/*")) == [
        "000001.json",
        "000002.json",
    ]
    raymle_("promote", trained)
    assert raymle_.json("reproduce", "models:/small@champion")["run_id"] == trained


@pytest.mark.parametrize(
    "overrides",
    [
        ["model={type: trees, params: {rounds: 30, bagging_fraction: 0.7}}"],
        ["data.target=size", "model.params={hidden: [16], dropout: 0.2}"],
    ],
    ids=["trees", "a regression with dropout"],
)
def test_other_models_pass_too(raymle_, overrides):
    run_id = raymle_.json("train", *overrides)["run_id"]
    assert verdicts(raymle_.reproduce(run_id))["weights"] == "same"


def test_data_that_changed_or_are_gone_fail_and_nothing_follows(raymle_, trained):
    file = raymle_.folder / "small.csv"
    whole = file.read_text()
    file.write_text(whole.replace("red", "blue", 1))
    changed = raymle_.reproduce(trained, code=10)
    file.unlink()
    gone = raymle_.reproduce(trained, code=10)
    file.write_text(whole)
    assert changed["data"][0] == "differs"
    assert "small.csv has changed" in changed["data"][1]
    assert gone["data"][0] == "gone"
    assert "small.csv does not exist" in gone["data"][1]
    for found in (changed, gone):
        assert {verdicts(found)[name] for name in NAMES[1:]} == {"not run"}
    assert "Reproduced: **FAIL**" in tags(raymle_.folder, trained)[0]["mlflow.note.content"]


def test_what_is_damaged_in_the_storage_fails_and_what_is_gone_is_a_sentence(raymle_, trained):
    """The last test of this run: it ends with it."""
    home = raymle_.folder / "runs" / "runs" / trained
    weights = home / "bundle" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    found = raymle_.reproduce(trained, code=10)
    assert found["weights"][0] == "damaged"
    assert "weights.safetensors is not what its manifest says" in found["weights"][1]
    assert found["metrics"][0] == "same"
    archive = home / "source" / "source.zip"
    with zipfile.ZipFile(archive) as packed:
        entries = {entry.filename: packed.read(entry) for entry in packed.infolist()}
    with zipfile.ZipFile(archive, "w") as packed:
        for name, text in entries.items():
            packed.writestr(name, text + b"# tampered with")
    found = raymle_.reproduce(trained, code=10)
    assert found["source"][0] == "damaged"
    assert verdicts(found)["training"] == "not run", "code that is not what it was is not run"
    shutil.rmtree(home / "source")
    assert f"does not know what run {trained} was made of" in raymle_("reproduce", trained, code=5).stderr
    raymle_("runs", "rm", "--force", trained)
    assert "there is no run" in raymle_("reproduce", trained, code=5).stderr


def test_a_run_that_failed_has_nothing_to_make_again(raymle_):
    raymle_("train", "train.optimizer={type: sgd, learning_rate: 1e30}", "train.epochs=2", code=4)
    newest = raymle_.json("runs", "ls")[0]
    assert newest["status"] == "failed"
    told = raymle_("reproduce", newest["run_id"], code=5).stderr
    assert "has no model to make again: it failed: training stopped" in told


def test_own_code_is_that_of_the_run_and_not_what_it_was_edited_to(tmp_path):
    shell = Shell(tmp_path, OWN)
    (tmp_path / "features.py").write_text(FEATURES)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "helper.py").write_text("FACTOR = 2\n")
    (tmp_path / "late.py").write_text("RATE = 0.1\n")
    made = shell.json("train")
    assert "profit" in made["metrics"]["validation"]
    (tmp_path / "helper.py").write_text("FACTOR = 3\n")
    (tmp_path / "late.py").write_text("raise ValueError('edited')\n")
    found = shell.reproduce(made["run_id"])
    assert "changed since: helper.py, late.py" in found["source"][1]
    assert found["weights"] == ("same", "bitwise equal")
    (tmp_path / "net.py").unlink()
    assert "changed since: helper.py, late.py, net.py" in shell.reproduce(made["run_id"])["source"][1]


def test_own_code_that_draws_without_a_seed_fails_by_its_metrics_and_weights(tmp_path):
    shell = Shell(tmp_path, OWN.replace(", transforms: ['features:widen']", ""))
    (tmp_path / "net.py").write_text(NET.replace("[context.params.seed, epoch]", ""))
    (tmp_path / "helper.py").write_text("FACTOR = 1\n")
    (tmp_path / "late.py").write_text("RATE = 0.1\n")
    made = shell.json("train")
    found = shell.reproduce(made["run_id"], code=10)
    assert (found["training"][0], found["weights"][0]) == ("done", "differs")
    assert found["weights"][1].startswith("differ by at most ")


def test_a_table_in_memory_is_reproduced_from_its_prepared_data(tmp_path):
    draw = np.random.default_rng(0)
    size = draw.normal(size=600)
    table = pa.table({"size": size, "late": np.where(size + draw.normal(size=600) > 0, "yes", "no")})
    train = {"epochs": 2, "batch_size": 64}
    run = raymle.Experiment(name="t", data=table, target="late", train=train, storage=str(tmp_path)).train()
    found = run.reproduce()
    assert found.verdict == "PASS"
    assert [check.verdict for check in found.checks[:3]] == ["kept", "same", "kept"]
    assert "cannot be read again" in found.checks[0].detail
    shutil.rmtree(tmp_path / "shards")
    assert run.reproduce().checks[0].verdict == "gone"


def test_another_thread_count_than_this_process_has_is_kept_to_and_given_back(tmp_path):
    import torch

    shell = Shell(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for model in ("mlp", "trees"):
            run = raymle.Experiment.load(shell.folder / "raymle.yaml", f"model.type={model}").train()
            torch.set_num_threads(before)
            found = run.reproduce()
            assert (found.verdict, torch.get_num_threads()) == ("PASS", before)
            assert "bitwise equal" in found.weights
    finally:
        torch.set_num_threads(before)

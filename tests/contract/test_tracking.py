"""What a run is told is what can be read back, whoever keeps it."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from raymle import loader, tracking
from raymle.config import TrackingConfig
from raymle.errors import ArtifactError, ConflictError, SecurityError, SetupError, UsageError
from raymle.store import commit, draft_folder, open_store
from raymle.tracking import client, registry, server

sys.path.insert(0, str(Path(__file__).parent))
from tracking_server import free_port, mlflow_server

SIGNATURE = {"inputs": [{"name": "age", "type": "double", "required": True}], "outputs": None}


@pytest.fixture(scope="session")
def http_uri(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_uri():
    """A PostgreSQL of our own on loopback; it refuses to run as root, so then as nobody."""
    if not shutil.which("initdb"):
        pytest.skip("there is no initdb")
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = {"user": "nobody"} if os.getuid() == 0 else {}
    if user:
        shutil.chown(folder, "nobody")
    port, data = free_port(), folder / "data"
    run = {"capture_output": True, "cwd": folder, **user}
    try:
        subprocess.run(["initdb", "-D", data, "-U", "raymle", "-A", "trust"], check=True, **run)
        options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off"
        # its output must not be a pipe: the server would hold it open
        quiet = {**run, "capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start"], check=True, **quiet)
    except (subprocess.CalledProcessError, PermissionError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL does not start here: {getattr(error, 'stderr', None) or error}")
    yield f"postgresql://raymle@127.0.0.1:{port}/postgres"
    subprocess.run(["pg_ctl", "-D", data, "-m", "immediate", "stop"], check=True, **quiet)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "http", "postgres"])
def config(request):
    if request.param == "sqlite":
        return TrackingConfig()
    return TrackingConfig(uri=request.getfixturevalue(f"{request.param}_uri"))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return open_store(str(tmp_path / "storage"))


@pytest.fixture
def experiment(tmp_path):
    return f"{tmp_path.parent.name}-{tmp_path.name}"


def make_bundle(store, run_id, text="weights"):
    draft = draft_folder(store.root)
    (draft / "weights.safetensors").write_text(text)
    return commit(draft, store.root / "runs" / run_id / "bundle")


def found(config, store, run_id):
    mlflow = MlflowClient(client.address(config, store))
    experiments = [item.experiment_id for item in mlflow.search_experiments()]
    runs = mlflow.search_runs(experiments, f"tags.`raymle.run_id` = '{run_id}'")
    return mlflow, runs


def tell(run, store, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    run.params({"train.epochs": 5, "train.optimizer.learning_rate": 1e-3})
    run.tags({"colour": "blue"})
    run.tags({"colour": "green"})
    for step in range(3):
        run.metrics({"loss": 1.0 / (step + 1), "odd": math.nan}, step=step)
    run.dataset(name="churn", digest="f" * 64, source="churn.csv", context="train", rows=80)
    run.artifact(tmp_path / "notes.txt", folder="notes")
    run.describe("# A card")
    run.model(make_bundle(store, run.id), name="churn", signature=SIGNATURE)
    run.finish("finished")


def test_memory_keeps_what_it_is_told_in_the_words_of_the_journal(store, tmp_path, experiment):
    memory = tracking.MemoryRun()
    tell(memory, store, tmp_path)
    written = tracking.start(TrackingConfig(), store, experiment=experiment)
    tell(written, store, tmp_path)
    from raymle.tracking import journal

    path = store.root / "journals" / f"{written.id}.jsonl"
    events = [entry.event for entry in journal.read(path)]
    told = [event for event in events if not any("system/" in name for name in event.get("values", {}))][1:]
    assert [event["do"] for event in told] == [event["do"] for event in memory.events]
    assert [event.get("values") for event in told][:3] == [event.get("values") for event in memory.events][:3]


def test_everything_told_can_be_read_back(config, store, tmp_path, experiment):
    run = tracking.start(config, store, experiment=experiment, name="churn")
    tell(run, store, tmp_path)
    mlflow, runs = found(config, store, run.id)
    assert len(runs) == 1
    (back,) = runs
    assert back.info.status == "FINISHED"
    assert back.info.run_name == f"churn {run.id}"
    assert back.data.params == {"train.epochs": "5", "train.optimizer.learning_rate": "0.001"}
    assert back.data.tags["colour"] == "green"
    assert back.data.tags["mlflow.note.content"] == "# A card"
    history = mlflow.get_metric_history(back.info.run_id, "loss")
    assert sorted((item.step, round(item.value, 4)) for item in history) == [(0, 1.0), (1, 0.5), (2, 0.3333)]
    assert math.isnan(back.data.metrics["odd"])
    assert "system/system_memory_usage_megabytes" in back.data.metrics
    assert [item.dataset.name for item in back.inputs.dataset_inputs] == ["churn"]
    assert [item.path for item in mlflow.list_artifacts(back.info.run_id, "notes")] == ["notes/notes.txt"]


def test_a_bundle_becomes_a_logged_model_with_a_signature(config, store, tmp_path, experiment):
    run = tracking.start(config, store, experiment=experiment)
    tell(run, store, tmp_path)
    mlflow, (back,) = found(config, store, run.id)
    (model,) = mlflow.search_logged_models([back.info.experiment_id])
    assert (model.name, model.status, model.source_run_id) == ("churn", "READY", back.info.run_id)
    from mlflow.artifacts import download_artifacts

    folder = Path(
        download_artifacts(
            artifact_uri=model.artifact_location, tracking_uri=mlflow.tracking_uri, dst_path=str(tmp_path)
        )
    )
    assert (folder / "weights.safetensors").read_text() == "weights"
    signature = Model.load(str(folder)).signature
    assert signature.inputs.input_names() == ["age"]


def test_trials_hang_under_their_study(config, store, experiment):
    study = tracking.start(config, store, experiment=experiment, kind="study")
    trials = [
        tracking.start(config, store, experiment=experiment, name=f"trial {number}", kind="trial", parent=study.id)
        for number in range(3)
    ]
    for trial in trials:
        trial.metrics({"loss": 1.0})
        trial.finish("finished")
    study.finish("finished")
    _, (parent,) = found(config, store, study.id)
    for trial in trials:
        _, (back,) = found(config, store, trial.id)
        assert back.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert back.info.status == "FINISHED"


def test_a_run_that_is_opened_again_is_added_to(config, store, experiment):
    run = tracking.start(config, store, experiment=experiment)
    run.finish("finished")
    ended = found(config, store, run.id)[1][0].info.end_time
    with tracking.reopen(spec_of(config, experiment), store, run.id) as again:
        again.metrics({"test/accuracy": 0.9})
    _, (back,) = found(config, store, run.id)
    assert back.data.metrics["test/accuracy"] == 0.9
    assert (back.info.status, back.info.end_time) == ("FINISHED", ended)


def test_another_machine_adds_to_a_run_and_registers_its_model(config, store, tmp_path, experiment):
    run = tracking.start(config, store, experiment=experiment)
    tell(run, store, tmp_path)
    elsewhere = open_store(str(tmp_path / "elsewhere"))  # knows of no journal
    bundle = store.root / "runs" / run.id / "bundle"
    here = spec_of(TrackingConfig(uri=client.address(config, store)), experiment)
    with tracking.reopen(here, elsewhere, run.id) as again:
        again.metrics({"test/accuracy": 0.9})
    _, runs = found(config, store, run.id)
    assert [each.data.metrics["test/accuracy"] for each in runs] == [0.9]
    about = {"name": f"far-{experiment}", "run_id": run.id, "experiment": experiment, "bundle": bundle, "tags": {}}
    assert registry.register(here.tracking, elsewhere, **about) == "1"


def spec_of(config, experiment):
    data = {"source": "a.csv", "target": "y"}
    return loader.from_mapping({"name": experiment, "data": data, "tracking": config.model_dump()})


def test_sending_again_sends_nothing_twice(config, store, tmp_path, experiment):
    run = tracking.start(config, store, experiment=experiment)
    tell(run, store, tmp_path)
    (store.root / "journals" / f"{run.id}.mlflow.json").unlink()  # as if every answer had been lost
    assert tracking.send_pending(config, store) == 1
    mlflow, runs = found(config, store, run.id)
    assert len(runs) == 1
    assert len(mlflow.get_metric_history(runs[0].info.run_id, "loss")) == 3
    assert len(runs[0].inputs.dataset_inputs) == 1
    assert len(mlflow.search_logged_models([runs[0].info.experiment_id])) == 1
    assert tracking.send_pending(config, store) == 0


def test_the_journal_is_where_values_that_mlflow_refuses_stay(config, store, experiment):
    run = tracking.start(config, store, experiment=experiment)
    run.params({"depth": 3})
    run.metrics({"loss": 1.0})
    run.params({"depth": 4})
    run.metrics({"loss": 0.5}, step=1)
    run.finish("finished")
    _, (back,) = found(config, store, run.id)
    assert back.data.params == {"depth": "3"}
    assert back.data.metrics["loss"] == 0.5
    assert back.info.status == "FINISHED"


def test_a_version_is_registered_once_aliased_by_compare_and_set_and_found_again(config, store, tmp_path, experiment):
    name = f"model-{experiment}"
    run = tracking.start(config, store, experiment=experiment)
    tell(run, store, tmp_path)
    bundle = store.root / "runs" / run.id / "bundle"
    assert registry.champion(config, store, name) is None
    about = {"name": name, "run_id": run.id, "experiment": experiment, "bundle": bundle}
    version = registry.register(config, store, **about, tags={"why": "test"})
    assert registry.register(config, store, **about, tags={}) == version
    registry.set_alias(config, store, name, "champion", version, expected=None)
    with pytest.raises(ConflictError, match="another promotion was first"):
        registry.set_alias(config, store, name, "champion", "99", expected=None)
    assert registry.champion(config, store, name) == (version, run.id)
    assert registry.resolve(config, store, f"models:/{name}@champion") == (bundle, name, version, run.id)

    shutil.rmtree(store.root / "runs")  # another machine, or a run that was removed
    downloaded = registry.resolve(config, store, f"models:/{name}/{version}").bundle
    assert (downloaded / "weights.safetensors").read_text() == "weights"


def test_a_reference_that_leads_nowhere_is_named(config, store):
    with pytest.raises(UsageError, match="names no registered model"):
        registry.resolve(config, store, "models:/churn@@x")
    with pytest.raises(ArtifactError, match="there is no models:/none@champion"):
        registry.resolve(config, store, "models:/none@champion")


def test_fresh_tables_are_those_that_migrations_make(store):
    import sqlite3

    from mlflow.store.db.utils import _get_latest_schema_revision

    database = store.root / "mlflow.db"
    client.create_tables(database)
    with sqlite3.connect(database) as connection:
        assert connection.execute("select * from alembic_version").fetchall() == [(_get_latest_schema_revision(),)]
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        assert connection.execute("select count(*) from runs").fetchone() == (0,)
    connection.close()


def test_the_server_refuses_strangers_hosts_and_other_addresses(store, http_uri):
    import urllib.error
    import urllib.request

    evil = urllib.request.Request(f"{http_uri}/api/2.0/mlflow/experiments/search", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(evil, timeout=10)
    with pytest.raises(SecurityError, match="no password"):
        server.ui(TrackingConfig(), store, host="0.0.0.0", port=free_port())
    with pytest.raises(SetupError, match="in use"):
        server.ui(TrackingConfig(), store, host="127.0.0.1", port=int(http_uri.rsplit(":", 1)[1]))
    with pytest.raises(UsageError, match="recorded at"):
        server.ui(TrackingConfig(uri=http_uri), store, host="127.0.0.1", port=free_port())


def test_start_imports_no_mlflow(store):
    code = (
        "import sys, json; from raymle import tracking; from raymle.config import TrackingConfig;"
        "from raymle.store import open_store;"
        "run = tracking.start(TrackingConfig(), open_store(sys.argv[1]), experiment='x');"
        "run.metrics({'loss': 1.0}); run.finish('finished');"
        "print(json.dumps([name for name in ('mlflow', 'torch', 'ray') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store.root)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    assert not done.stderr

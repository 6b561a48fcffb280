"""The whole story with its home in a bucket, and what another machine sees of it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import raymle
from raymle import comparing, removal, tune
from raymle.data import shards
from raymle.errors import SetupError
from raymle.reproduce.scratch import scratch
from raymle.store import open_store
from raymle.tracking import notes


@pytest.fixture
def home(bucket, tmp_path, monkeypatch):
    """A storage in the bucket, and a way to become another machine: one with another cache."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")

    def become(name):
        monkeypatch.setenv("HOME", str(tmp_path / name))

    become("here")
    return f"s3://{bucket}/home", become


def table(rows=1500):
    draw = np.random.default_rng(0)
    size, colour = draw.normal(size=rows), draw.choice(["red", "green"], rows)
    late = np.where(size + (colour == "red") + draw.normal(scale=0.3, size=rows) > 0.5, "yes", "no")
    return pa.table({"id": range(rows), "size": size, "colour": colour, "late": late})


def test_a_run_in_a_bucket_is_scored_promoted_and_used_from_another_machine(home, tmp_path):
    storage, become = home
    train = {"epochs": 2, "batch_size": 128}
    made = raymle.Experiment(
        name="far", data=table(), target="late", key="id", storage=storage, train=train, cluster={"address": "inline"},
        promote={"min_fresh_rows": 50},
    ).train()  # fmt: skip
    become("there")
    run = raymle.Run.open("last", storage=storage)
    assert (run.id, run.metrics) == (made.id, made.metrics)
    assert run.score().runs[0].label == "test"
    assert run.promote().passed
    become("elsewhere")
    assert raymle.Run.open("models:/far@champion", storage=storage).score().runs[0].label == "validation"
    pq.write_table(table(20).drop_columns(["late"]), tmp_path / "new.parquet")
    done = raymle.predict(
        "models:/far@champion", str(tmp_path / "new.parquet"), tmp_path / "out.parquet", storage=storage
    )
    assert done.rows == 20
    assert pq.read_table(done.output)["id"].to_pylist() == list(range(20))
    report = open_store(storage).read(f"runs/{run.id}/report.html")
    assert b"far" in report
    assert run.id in removal.remove([run.id], storage=storage, force=True)


def test_a_study_in_a_bucket_goes_on_from_another_machine(home):
    storage, become = home
    study = {"algorithm": "random", "space": {"train.optimizer.learning_rate": {"loguniform": [1e-4, 1e-1]}}}
    experiment = raymle.Experiment(
        name="far", data=table(600), target="late", key="id", storage=storage,
        model={"type": "mlp", "params": {"hidden": [8], "dropout": 0.0}},
        train={"epochs": 3, "batch_size": 128}, tune={"trials": 4, **study},
    )  # fmt: skip
    first = experiment.tune()
    become("there")
    second = experiment.tune(resume="last", tune__trials=6)
    assert (first.record.study.trials, second.record.study.trials) == (4, 6)
    assert second.record.study.resumed == 4
    assert second.record.study.id == first.record.study.id
    become("elsewhere")
    assert raymle.Run.open(second.record.study.id, storage=storage).id == second.id
    store = open_store(storage)
    assert b"far" in store.read(f"studies/{second.record.study.id}/study.html")
    splits = shards.find(store, second.record.splits_id)
    facts = [found.facts for found in tune.recalled(store, second.record.study.id, second.spec, splits)]
    assert len(facts) == 6
    assert all(each["size_mb"] > 0 for each in facts)


def test_a_run_in_a_bucket_is_reproduced_on_another_machine(home, tmp_path):
    storage, become = home
    pq.write_table(table(600), tmp_path / "late.parquet")
    made = raymle.Experiment(
        name="far", data=tmp_path / "late.parquet", target="late", key="id", storage=storage,
        train={"epochs": 2, "batch_size": 128}, cluster={"address": "inline"},
    ).train()  # fmt: skip
    become("there")
    run = raymle.Run.open("last", storage=storage)
    before = open_store(storage).names("")
    found = run.reproduce()
    assert (found.run_id, found.verdict) == (made.id, "PASS"), found
    assert found.weights == "bitwise equal"
    assert open_store(storage).names("") == before
    become("elsewhere")
    assert notes.reproduced(open_store(storage), made.id) == found


def test_room_for_several_machines_is_in_the_bucket_and_goes(home):
    store = open_store(home[0])
    with scratch(store, shared=True) as room:
        room.store.write_new("runs/a", b"1")
        assert room.store.uri.startswith(f"{store.uri}/.again-")
        assert len(store.names("")) == 1
    assert store.names("") == []
    assert not room.store.root.exists()


def test_a_bucket_that_is_not_there_is_one_sentence(home):
    with pytest.raises(SetupError, match="NoSuchBucket"):
        raymle.Run.open("last", storage="s3://no-such-bucket-at-all/home")


def test_runs_in_a_bucket_are_compared_on_another_machine_and_the_page_goes_to_the_bucket(home):
    storage, become = home
    experiment = raymle.Experiment(
        name="far", data=table(600), target="late", key="id", storage=storage,
        train={"epochs": 1, "batch_size": 128}, cluster={"address": "inline"},
    )  # fmt: skip
    made = experiment.train(model__type="linear")
    become("there")
    store = open_store(storage)
    found = comparing.of_records(store, comparing.records(store, [made.id]))
    assert [row.run_id for row in found.rows] == [made.id]
    page = comparing.publish(store, found)
    assert open_store(storage).read(f"compare/{page.parent.name}/tradeoff.html") == page.read_bytes()

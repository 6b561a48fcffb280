"""Runs that Ray made are made again: a group of workers on Ray, a study's winner in this process."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import ray

import raymle

SPEC = """
name: small
data: {source: small.csv, target: late, key: id}
model: {params: {hidden: [16], dropout: 0.1}}
train: {epochs: 3, batch_size: 64, early_stopping: null}
"""


@pytest.fixture
def experiment(tmp_path):
    draw = np.random.default_rng(0)
    size, colour = draw.normal(size=900), draw.choice(["red", "green"], 900)
    late = np.where(size + (colour == "red") + draw.normal(scale=0.5, size=900) > 0.5, "yes", "no")
    pyarrow.csv.write_csv(
        pa.table({"id": range(900), "size": size, "colour": colour, "late": late}), tmp_path / "small.csv"
    )
    (tmp_path / "raymle.yaml").write_text(SPEC)

    def load(*overrides):
        return raymle.Experiment.load(tmp_path / "raymle.yaml", *overrides)

    return load


def told(found):
    return {check.name: (check.verdict, check.detail) for check in found.checks}


def test_two_workers_pass_on_a_ray_that_goes_again(experiment):
    run = experiment("train.workers=2").train()
    found = run.reproduce()
    assert not ray.is_initialized()
    assert found.verdict == "PASS", found
    assert "2 worker(s)" in told(found)["seed and threads"][1]
    assert told(found)["weights"][0] in {"same", "close"}, "told, and no reason to fail"


def test_a_studys_winner_passes_without_ray_with_the_threads_of_its_actor(experiment):
    rates = "train.optimizer.learning_rate=choice:0.001,0.01"
    run = experiment(rates, "tune.algorithm=grid", "tune.trials=2", "train.epochs=2").tune()
    assert (run.record.execution, run.record.threads) == ("ray", 1)
    found = raymle.Run.open(run.record.study.id, storage=run.storage).reproduce()
    assert (found.verdict, found.run_id) == ("PASS", run.id), found
    assert told(found)["weights"] == ("same", "bitwise equal")
    assert not ray.is_initialized()

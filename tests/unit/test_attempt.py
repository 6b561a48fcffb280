"""One attempt at a run: keys, what a killed one leaves, and what may be removed."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import raymle
from raymle import removal
from raymle.errors import ConflictError
from raymle.store import open_store
from raymle.tracking import keys, notes, shelf


@pytest.fixture
def experiment(tmp_path):
    draw = np.random.default_rng(0)
    size = draw.normal(size=400)
    frame = pd.DataFrame({"size": size, "late": np.where(size + draw.normal(scale=0.3, size=400) > 0, "yes", "no")})
    return raymle.Experiment(
        name="small", data=frame, target="late", storage=str(tmp_path / "runs"), model={"type": "linear"},
        train={"epochs": 1, "batch_size": 64},
    )  # fmt: skip


def test_a_key_is_one_run_and_no_other_settings(experiment):
    run = experiment.train(key="monday")
    assert experiment.train(key="monday").id == run.id
    with pytest.raises(ConflictError, match=r"train.epochs is 1 there and 2 here"):
        experiment.train(key="monday", train__epochs=2)
    with pytest.raises(ConflictError, match=r"train.optimizer.learning_rate is 0.01 there and 0.5 here"):
        experiment.train(key="monday", train__optimizer__learning_rate=0.5)
    assert [each.run_id for each in shelf.every(run.store)] == [run.id]


def test_a_key_whose_run_failed_is_free_again(experiment):
    with pytest.raises(raymle.RaymleError):
        experiment.train(key="k", train__optimizer__learning_rate=1e38, model={"type": "mlp"}, train__epochs=3)
    assert experiment.train(key="k").record.status == "finished"


def test_a_study_hands_its_key_to_its_best_run(tmp_path):
    store = open_store(str(tmp_path))
    assert keys.claim(store, "k", "study")
    assert not keys.claim(store, "k", "another")
    assert keys.claim(store, "k", "best", instead_of="study")
    assert keys.holder(store, "k") == "best"


def dead_process():
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    return int(done.stdout)


def test_a_run_whose_process_died_is_seen_as_killed_and_can_be_removed(experiment):
    run = experiment.train()
    folder = run.store.root / "runs" / run.id
    for name in ("record.json", "spec.json"):
        (folder / name).unlink()
    attempt = folder / "attempts" / "000001.json"
    claim = json.loads(attempt.read_text())
    assert [each.status for each in shelf.every(run.store)] == ["running"]
    attempt.write_text(json.dumps(claim | {"pid": dead_process()}))
    assert [each.status for each in shelf.every(run.store)] == ["killed"]
    assert shelf.load_spec(run.store, run.id).name == "small"
    assert run.id in removal.remove([run.id], storage=run.storage)
    assert not folder.exists()


def test_prepared_data_that_a_running_training_needs_stay(experiment):
    first = experiment.train()
    running = experiment.train()
    (running.store.root / "runs" / running.id / "record.json").unlink()
    assert shelf.held(running.store) == {first.record.splits_id}
    assert removal.remove([first.id], storage=first.storage) == [first.id]
    assert [folder.name for folder in (first.store.root / "shards").iterdir()] == [first.record.splits_id]


def test_a_promoted_run_is_removed_only_by_force(experiment):
    run = experiment.train()
    notes.note_promotion(run.store, run.id, "small version 1")
    with pytest.raises(ConflictError, match="is small version 1"):
        removal.remove([run.id], storage=run.storage)
    assert run.id in removal.remove([run.id], storage=run.storage, force=True)


def test_what_the_user_may_not_have_meant_is_said(experiment):
    run = experiment.train(train__batch_size=5000, promote__min_fresh_rows=1000)
    told = " ".join(run.record.warnings)
    assert "fewer than promote.min_fresh_rows, 1,000" in told
    assert "320 train rows in batches of 5,000, 1 times, come to few steps to learn in, 1" in told

"""A study on a Ray of two CPUs. What a trial does is a stand-in, so that its epochs can be counted."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from raymle import loader, tracking, tune
from raymle.errors import WorkError
from raymle.records import Epoch, Schema, Splits
from raymle.store import open_store
from raymle.tracking import journal

RATE = "train.optimizer.learning_rate"
SLOW_TO_SAVE, ALL = 0.45, 5


def misbehave(rate):
    if rate == 0.5:
        raise ValueError("too fast")
    if rate == 0.6:
        os._exit(1)


def hang(rate, epoch):
    if rate == 0.7 and epoch == 2:
        threading.Event().wait()


def train(train, model, splits, *, metric, folder, out, transforms, storage, run):
    """Write down each epoch that is run; the lower the learning rate the better."""
    from raymle.records import Fitted
    from raymle.train import checkpoint
    from raymle.train.best import SAVE, STOP

    rate, diary = train.optimizer.learning_rate, Path(splits.path) / out.parent.name
    misbehave(rate)
    store, kept = open_store(storage), checkpoint.folder_of(run)
    done = max((position.epochs for position in checkpoint.positions(store, kept)), default=0)
    for epoch in range(1, train.epochs + 1):
        hang(rate, epoch)
        if epoch > done:
            with diary.open("a") as file:
                file.write(f"{epoch} {os.getpid()}\n")
        report = Epoch(epoch=epoch, step=epoch, metrics={metric: 1 - rate + epoch / 1000})
        answer = yield report
        while answer is SAVE:
            if rate == SLOW_TO_SAVE:
                dawdle(diary.parent)
            checkpoint.save(store, kept, checkpoint.Position(epoch, 0), checkpoint.State({}, {}))
            answer = yield report
        if answer is STOP:
            break
    out.mkdir(parents=True)
    (out / "weights").write_text(str(epoch))
    return Fitted(bundle=str(out), parameters=1, epochs=epoch, best_epoch=epoch, seconds=0, metrics={})


def dawdle(diaries):
    """Save so slowly that all others report, and who goes on is decided, meanwhile."""
    while len(list(diaries.iterdir())) < ALL:
        time.sleep(0.05)
    time.sleep(2)


@pytest.fixture(scope="module")
def cluster(two_cpus):
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def search(tmp_path, space, *, epochs=9, train_section=None, **settings):
    diaries = tmp_path / "diaries"
    diaries.mkdir()
    spec = loader.from_mapping(
        {
            "name": "t",
            "data": {"source": "x.csv", "target": "y"},
            "train": {"epochs": epochs} | (train_section or {}),
            "tune": {"algorithm": "grid", "space": space} | settings,
            "storage": str(tmp_path / "runs"),
        }
    )
    counts = {"train": 1, "validation": 1, "test": 1}
    splits = Splits(
        id="s", path=str(diaries), sealed="", data_fingerprint="f", rows=counts,
        data_schema=Schema(columns=(), target="y", task="classification"),
        fingerprints=dict.fromkeys(counts, ""),
    )  # fmt: skip
    study = tracking.MemoryRun()
    store = open_store(spec.storage)
    return tune.search(tune.check(spec), spec, splits, metric="roc_auc", store=store, run=study, train=train)


def diary(tmp_path, run_id):
    return [line.split() for line in (tmp_path / "diaries" / run_id).read_text().splitlines()]


def told(tmp_path):
    """Return every trial's journal, by its learning rate."""
    found = {}
    for path in sorted((tmp_path / "runs" / "journals").glob("*.jsonl")):
        events = [entry.event for entry in journal.read(path)]
        rate = next(event["values"][RATE] for event in events if event["do"] == "params")
        found[float(rate)] = (path.stem, events)
    return found


def test_asha_stops_bad_trials_and_they_keep_what_they_had(cluster, tmp_path, capfd):
    found = search(tmp_path, {RATE: {"choice": [0.01, 0.2, 0.21, 0.3, 0.31, 0.4]}}, concurrency=1)
    trials = told(tmp_path)
    ran = {rate: len(diary(tmp_path, run_id)) for rate, (run_id, _) in trials.items()}
    assert ran == {0.01: 9, 0.2: 1, 0.21: 1, 0.3: 1, 0.31: 1, 0.4: 1}
    assert found.study.model_dump(exclude={"id", "seconds"}) == {
        "trials": 6, "finished": 1, "failed": 0, "stopped_early": 5, "resumed": 0,
        "epochs": 14, "epochs_saved": 40, "dollars": 0.0,
    }  # fmt: skip
    assert found.candidates[0].run_id == trials[0.01][0]
    assert found.candidates[0].spec.train.optimizer.learning_rate == 0.01
    assert [epoch.epoch for epoch in found.candidates[0].history] == list(range(1, 10))
    for run_id, _ in trials.values():
        assert (tmp_path / "runs" / "runs" / run_id / "bundle" / "weights").is_file()
    assert trials[0.4][1][-1]["status"] == "killed"
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.split()[0] for line in err.splitlines()] == ["trial"] * 6


def test_trials_share_actors_and_every_epoch_is_tracked_under_the_study(cluster, tmp_path):
    space = {
        RATE: {"loguniform": [1e-4, 1e-1]},
        "model": {"choice": [{"type": "mlp", "params": {"dropout": {"uniform": [0, 0.5]}}}, {"type": "linear"}]},
    }
    found = search(tmp_path, space, epochs=3, algorithm="tpe", scheduler="none", trials=8)
    trials = told(tmp_path)
    assert found.study.finished == 8
    assert len({pid for run_id, _ in trials.values() for _, pid in diary(tmp_path, run_id)}) <= 2
    for _, events in trials.values():
        assert [event["step"] for event in events if event["do"] == "metrics"] == [1, 2, 3]
        assert events[0]["kind"] == "trial"
        assert events[0]["parent"] == found.study.id
        assert events[-1]["status"] == "finished"
    assert not list((tmp_path / "runs" / "studies").glob("*/tune"))


def test_a_trial_that_fails_or_dies_is_one_failed_trial(cluster, tmp_path):
    found = search(tmp_path, {RATE: {"choice": [0.5, 0.6, 0.02]}}, epochs=2, concurrency=1)
    assert found.candidates[0].spec.train.optimizer.learning_rate == 0.02
    assert found.study.failed == 2
    reasons = {
        rate: next(event["values"]["raymle.reason"] for event in events if "raymle.reason" in event.get("values", {}))
        for rate, (_, events) in told(tmp_path).items()
        if rate != 0.02
    }
    assert reasons[0.5] == "ValueError: too fast"
    assert reasons[0.6].startswith("its process died")


def test_when_every_trial_fails_the_causes_are_told_together(cluster, tmp_path):
    with pytest.raises(WorkError, match="all 2 trials failed:\n  2 x ValueError: too fast"):
        search(tmp_path, {RATE: {"choice": [0.5]}, "train.epochs": {"int": [1, 2]}}, trials=2)


def test_when_the_minutes_are_over_a_running_trial_stops_and_keeps_its_best(cluster, tmp_path):
    space = {RATE: {"choice": [0.1, 0.2]}}
    found = search(tmp_path, space, epochs=10**6, scheduler="none", concurrency=1, budget={"minutes": 0.02})
    assert found.study.trials == found.study.stopped_early == 1
    assert found.candidates[0].fitted.epochs >= len(found.candidates[0].history) >= 1


def test_a_trial_that_is_stopped_while_it_is_paused_keeps_what_it_had(cluster, tmp_path):
    rates = [0.01, 0.02, SLOW_TO_SAVE, 0.1, 0.2]  # two run to the end, of three others the best one
    found = search(tmp_path, {RATE: {"choice": rates}}, epochs=3, scheduler="hyperband")
    trials = told(tmp_path)
    ran = {rate: [int(epoch) for epoch, _ in diary(tmp_path, run_id)] for rate, (run_id, _) in trials.items()}
    assert ran == {0.01: [1, 2, 3], 0.02: [1, 2, 3], 0.1: [1, 2, 3], 0.2: [1], SLOW_TO_SAVE: [1]}
    assert (found.study.finished, found.study.stopped_early, found.study.failed) == (3, 2, 0)
    for run_id, _ in trials.values():
        assert (tmp_path / "runs" / "runs" / run_id / "bundle" / "weights").is_file()


def test_a_trial_that_hangs_is_one_failed_trial_with_its_place(cluster, tmp_path):
    space = {RATE: {"choice": [0.7, 0.02]}}
    found = search(tmp_path, space, train_section={"step_timeout": 3}, scheduler="none", concurrency=1)
    assert found.candidates[0].spec.train.optimizer.learning_rate == 0.02
    (reason,) = [
        event["values"]["raymle.reason"]
        for event in told(tmp_path)[0.7][1]
        if "raymle.reason" in event.get("values", {})
    ]
    assert "it hung in" in reason
    assert "threading.py" in reason

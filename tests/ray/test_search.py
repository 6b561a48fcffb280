"""Studies of real small networks on a Ray of two CPUs; what their trials really ran is in the trials' journals."""

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray
from helpers import drain

from raymle import loader, model, tracking, train, tune
from raymle.errors import ResourceError
from raymle.store import open_store
from raymle.tracking import journal

RATE, SEED = "train.optimizer.learning_rate", "train.seed"
ROWS = pa.table({"number": [0.1, 2.0, None], "colour": ["red", "blue", None]})
SGD = {"optimizer": {"type": "sgd", "clip_norm": None}}
MORTAL_NET = """
import os, signal, torch
class Net(torch.nn.Module):
    def __init__(self, inputs, outputs, fate):
        super().__init__()
        self.layer, self.fate = torch.nn.Linear(inputs.numbers, outputs), fate
    def forward(self, numbers, categories):
        if len(numbers) > 2:  # two rows are what it is tried on before anything starts
            FATES[self.fate]()
        return self.layer(numbers)
FATES = {
    "lives": lambda: None, "lives too": lambda: None, "exits": lambda: os._exit(3),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL), "greedy": lambda: torch.empty(10**14),
}
def make(inputs, outputs, fate): return Net(inputs, outputs, fate)
"""


@dataclass(frozen=True)
class Trial:
    """What stayed of a trial, by its settings."""

    run_id: str
    params: list[dict[str, str]]
    """As often as they were told."""
    reports: list[tuple[int, dict[str, float], int]]
    """Each epoch as it was told: number, metrics, milliseconds."""
    tags: dict[str, str]
    kept: dict[str, Any]
    """Its end."""

    @property
    def epochs(self):
        return [number for number, _, _ in self.reports]

    @property
    def state(self):
        return self.kept["state"]

    @property
    def bundle(self):
        return self.kept["fitted"]["bundle"]


class Lab:
    """One prepared table and its storage."""

    def __init__(self, splits, folder):
        self.splits, self.folder = splits, folder
        self.store = open_store(str(folder / "runs"))

    def spec(self, space, *, training=None, kind=None, **settings):
        return loader.from_mapping(
            {
                "name": "t",
                "data": {"source": "x.csv", "target": "target"},
                "model": kind or {"type": "mlp", "params": {"hidden": [8], "dropout": 0.0}},
                "train": {"epochs": 9, "batch_size": 256, "early_stopping": None} | (training or {}),
                "tune": {"algorithm": "grid", "space": space} | settings,
                "storage": str(self.folder / "runs"),
            },
            folder=self.folder,
        )

    def search(self, space, **settings):
        """Return what a study found, and its trials by their first value, or by all of them."""
        spec, run = self.spec(space, **settings), tracking.MemoryRun()
        found = tune.search(tune.check(spec), spec, self.splits, metric="roc_auc", store=self.store, run=run)
        return found, dict(self.trials(run.id, list(space)))

    def trials(self, study, paths):
        for path in sorted((self.folder / "runs" / "journals").glob("*.jsonl")):
            events = [entry.event for entry in journal.read(path)]
            if events[0]["parent"] != study:
                continue
            every = [event["values"] for event in events if event["do"] == "params"]
            tags = {name: value for event in events if event["do"] == "tags" for name, value in event["values"].items()}
            reports = [(event["step"], event["values"], event["at"]) for event in events if event["do"] == "metrics"]
            kept = json.loads((self.folder / "runs" / "runs" / path.stem / "trial.json").read_text())
            key = tuple(every[0][name] for name in paths)
            yield key[0] if len(key) == 1 else key, Trial(path.stem, every, reports, tags, kept)


@pytest.fixture
def lab(two_cpus, splits, tmp_path):
    return Lab(splits, tmp_path)


def choice(*options):
    return {"choice": list(options)}


def learned(reports):
    """Return what depends on the weights alone."""
    return [{name: value for name, value in metrics.items() if name != "rows_per_second"} for metrics in reports]


def test_median_stops_what_is_worse_than_half_and_the_epochs_are_not_run(lab):
    rates = choice(0.1, 0.05, 0.01, 1e-5, 1e-6)
    found, trials = lab.search({RATE: rates}, scheduler="median", fuse=False, concurrency=1)
    assert {rate: trial.epochs[-1] for rate, trial in trials.items()} == {
        "0.1": 9, "0.05": 9, "0.01": 9, "1e-05": 1, "1e-06": 1,
    }  # fmt: skip
    assert (found.study.epochs, found.study.epochs_saved) == (29, 16)
    for trial in trials.values():
        assert model.load(trial.bundle).predict(ROWS).shape == (3, 2)


def test_hyperband_pauses_trials_which_go_on_as_if_they_never_were(lab, tmp_path):
    rates = [0.1, 0.01, 0.001, 0.03, 0.003, 3e-4, 1e-5, 1e-6]  # three run to the end, of five others the best two
    found, trials = lab.search({RATE: choice(*rates)}, scheduler="hyperband")
    assert {rate: trial.epochs for rate, trial in trials.items()} == {
        str(rate): [*range(1, 4 if rate in rates[5:] else 10)] for rate in rates
    }
    assert (found.study.finished, found.study.stopped_early, found.study.epochs_saved) == (5, 3, 18)

    spec = loader.override(lab.spec({RATE: choice(*rates)}), {RATE: 0.03})
    reports, whole = drain(
        train.fit(spec.train, spec.model, lab.splits, metric="roc_auc", folder=".", out=tmp_path / "whole")
    )
    paused = trials["0.03"]
    for ours, theirs in zip(
        learned(each[1] for each in paused.reports), learned(each.metrics for each in reports), strict=True
    ):
        assert ours == pytest.approx(theirs, rel=1e-4)
    np.testing.assert_allclose(
        model.load(paused.bundle).predict(ROWS), model.load(whole.bundle).predict(ROWS), atol=1e-5
    )

    stopped = trials["1e-06"]
    assert stopped.kept["fitted"]["epochs"] == 3
    assert model.load(stopped.bundle).predict(ROWS).shape == (3, 2)
    assert not list((tmp_path / "runs" / "runs").glob("*/checkpoints"))


def test_in_a_population_the_bad_go_on_with_the_weights_of_the_good(lab, tmp_path):
    rates = {RATE: {"loguniform": [1e-5, 0.1]}}  # this seed draws a bad one and three good ones
    plan = {"scheduler": "pbt", "algorithm": "random", "trials": 4, "seed": 84}
    found, trials = lab.search(rates, training={"epochs": 5}, **plan)
    assert found.study.finished == 4
    rate, bad = min(trials.items(), key=lambda item: float(item[0]))
    told = re.fullmatch(r"after epoch (\d) it went on from (\S+) with (.*)", bad.tags["raymle.exploited"])
    epoch, donor, values = int(told[1]), told[2], json.loads(told[3])
    losses = {number: metrics["validation_loss"] for number, metrics, _ in bad.reports}
    assert all(losses[step] < losses[1] - 0.1 for step in losses if step > epoch), "its metric jumps"
    assert donor in {trial.run_id for trial in trials.values()} - {bad.run_id}
    assert bad.kept["values"] == values != {RATE: float(rate)}
    assert model.load(bad.bundle).predict(ROWS).shape == (3, 2)
    for trial in trials.values():
        assert len(trial.params) == 1, "MLflow takes a setting once"
        assert len(set(trial.epochs)) == len(trial.epochs), "and an epoch too"
        assert [each["epoch"] for each in trial.kept["history"]] == [1, 2, 3, 4, 5]
    assert not list((tmp_path / "runs" / "runs").glob("*/checkpoints"))


def test_a_stack_comes_to_what_separate_trials_come_to(lab):
    space = {RATE: choice(1e30, 0.1, 0.01, 0.001), SEED: choice(0, 1, 2)}
    (fused, together), (plain, alone) = (
        lab.search(space, fuse=fuse, concurrency=1, training=SGD) for fuse in (True, False)
    )
    first, second = (
        [(number, at) for number, _, at in trial.reports] for trial in (together["0.1", "0"], together["0.1", "1"])
    )
    assert first[0][1] <= second[0][1] < first[1][1], "their epochs alternate, so they were one stack"
    for key, trial in alone.items():
        other = together[key]
        assert (other.state, other.epochs) == (trial.state, trial.epochs)
        for ours, theirs in zip(other.reports, trial.reports, strict=True):
            assert learned([ours[1]])[0] == pytest.approx(learned([theirs[1]])[0], rel=1e-4, abs=1e-4)
    counts = {"trials", "finished", "failed", "stopped_early", "epochs", "epochs_saved"}
    assert fused.study.model_dump(include=counts) == plain.study.model_dump(include=counts)
    assert fused.study.stopped_early > 0
    assert fused.candidates[0].spec.train == plain.candidates[0].spec.train

    failed = [trial for (rate, _), trial in together.items() if rate == "1e+30"]
    assert {trial.state for trial in failed} == {"failed"}
    assert all("training stopped: the" in trial.tags["raymle.reason"] for trial in failed)
    assert fused.study.failed == 3


def test_a_stack_that_the_budget_stops_keeps_its_bundles(lab):
    found, trials = lab.search(
        {RATE: choice(0.1, 0.01, 0.001)}, scheduler="none", concurrency=1, training={"epochs": 10**6},
        budget={"minutes": 0.1},
    )  # fmt: skip
    assert found.study.stopped_early == 3
    assert len({len(trial.epochs) for trial in trials.values()}) == 1
    for trial in trials.values():
        assert model.load(trial.bundle).predict(ROWS).shape == (3, 2)


def test_trials_of_two_workers_are_stopped_and_leave_the_cluster_as_it_was(lab):
    with pytest.raises(ResourceError, match=r"needs 3 workers, each with 1 CPU .* has 2 CPU, 0 GPU, room for 2"):
        lab.search({RATE: choice(0.1, 0.01)}, training={"workers": 3})
    found, trials = lab.search({RATE: choice(0.1, 1e-6)}, training={"workers": 2, "epochs": 4})
    assert (found.study.finished, found.study.stopped_early) == (1, 1)
    assert (trials["0.1"].epochs, trials["1e-06"].epochs) == ([1, 2, 3, 4], [1])
    for trial in trials.values():
        assert model.load(trial.bundle).predict(ROWS).shape == (3, 2)
        assert trial.kept["fitted"]["workers"] == 2
    needs_both = ray.remote(num_cpus=2)(lambda: True)
    assert ray.get(needs_both.remote(), timeout=20), "their places are free again"


def test_a_trial_whose_process_dies_is_one_failed_trial(lab, tmp_path):
    (tmp_path / "mortal.py").write_text(MORTAL_NET)
    space = {"model.params.fate": choice("lives", "exits", "killed", "greedy", "lives too")}
    kind = {"type": "mortal:make", "params": {"fate": "lives"}}
    found, trials = lab.search(space, kind=kind, concurrency=1, training={"epochs": 2}, scheduler="none")
    assert {fate: trial.state for fate, trial in trials.items()} == {
        "lives": "finished", "exits": "failed", "killed": "failed", "greedy": "failed", "lives too": "finished",
    }  # fmt: skip
    reasons = {fate: trial.tags.get("raymle.reason") for fate, trial in trials.items()}
    assert reasons["exits"].startswith("its process died")
    assert reasons["killed"].startswith("its process died, perhaps for want of memory")
    assert "can't allocate memory" in reasons["greedy"]
    assert found.study.failed == 3


@pytest.mark.parametrize(
    "settings",
    [{"algorithm": "tpe", "fuse": True}, {"algorithm": "random", "fuse": False}, {"scheduler": "hyperband"}],
    ids=["tpe in stacks", "random alone", "hyperband"],
)
def test_one_trial_at_a_time_makes_a_study_reproducible(lab, settings):
    space = {RATE: {"loguniform": [1e-4, 1e-1]}, SEED: {"int": [0, 99]}}
    settings = {"algorithm": "random", "trials": 8, "concurrency": 1, "training": {"epochs": 3}, "seed": 7} | settings
    (_, first), (_, second) = (lab.search(space, **settings) for _ in range(2))
    assert set(first) == set(second)
    for key, trial in first.items():
        other = second[key]
        assert (trial.state, trial.epochs, trial.kept["score"]) == (other.state, other.epochs, other.kept["score"])
        assert learned(each[1] for each in trial.reports) == learned(each[1] for each in other.reports)

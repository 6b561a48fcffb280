"""What counts as the same, what decides, and what is only told."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from raymle.records import Check, Environment, Trained
from raymle.reproduce import checks
from raymle.reproduce.weights import apart

HERE = Environment(
    packages={"raymle": "0.1.0", "Python": "3.11.9", "torch": "2.13.0", "rich": "14.0", "gone": "1"},
    machine={"processor": "AMD EPYC", "architecture": "x86_64"},
)
TRAINED = Trained(
    run_id="r", name="n", status="finished", task="regression", metric="rmse", metrics={}, bundle="", splits_id="s",
    rows={}, seconds={}, execution="inline", model="mlp", parameters=1, threads=4,
)  # fmt: skip


def every(**verdicts):
    return [Check(name=name, verdict=verdicts.get(name, "same")) for name in checks.NAMES]


def with_packages(**packages):
    return HERE.model_copy(update={"packages": HERE.packages | packages})


@pytest.mark.parametrize("name", ["data", "source", "splits", "training", "metrics", "weights"])
@pytest.mark.parametrize("verdict", ["differs", "gone", "damaged", "failed", "not run"])
def test_one_check_that_decides_is_enough_to_fail(name, verdict):
    assert checks.verdict(every(**{name: verdict})) == "FAIL"


def test_another_environment_and_machine_do_not_fail_by_themselves():
    assert checks.verdict(every(environment="differs", machine="differs", weights="close", splits="kept")) == "PASS"


def test_what_was_not_come_to_is_not_run_and_in_its_place():
    found = checks.complete([Check(name="data", verdict="gone")])
    assert [check.name for check in found] == list(checks.NAMES)
    assert {check.verdict for check in found[1:]} == {"not run"}
    assert checks.verdict(found) == "FAIL"


def test_a_small_package_leaves_the_environment_of_the_same_kind():
    found = checks.environment(HERE, with_packages(rich="15.0"))
    assert (found.verdict, found.detail) == ("same kind", "rich 14.0 -> 15.0")
    assert checks.environment(HERE, HERE).verdict == "same"


@pytest.mark.parametrize("name", ["raymle", "Python", "torch", "numpy", "lightgbm", "pyarrow"])
def test_a_package_that_computes_makes_it_another_kind_and_is_named_first(name):
    found = checks.environment(HERE, with_packages(**{name: "99", "Aaa": "1"}))
    assert found.verdict == "differs"
    assert found.detail.startswith(f"{name} ")
    assert "Aaa absent -> 1" in found.detail


def test_raymles_own_code_makes_it_another_kind_within_one_version():
    then, now = (HERE.model_copy(update={"raymle": state * 16}) for state in ("ab12", "cd34"))
    found = checks.environment(then, now)
    assert (found.verdict, found.detail) == ("differs", "raymle's own code ab12ab12ab12 -> cd34cd34cd34")
    assert checks.environment(then, then).verdict == "same"
    assert checks.environment(HERE, now).verdict == "same"  # an older run does not say


def test_many_packages_are_counted():
    found = checks.environment(HERE, with_packages(**{f"p{number}": "1" for number in range(9)}))
    assert found.detail.endswith(" and 4 more")


def test_another_processor_is_named_on_both_sides():
    other = HERE.model_copy(update={"machine": {"processor": "Apple M4", "architecture": "arm64"}})
    found = checks.machine(HERE, other)
    assert (found.verdict, found.detail) == ("differs", "AMD EPYC, x86_64 then, Apple M4, arm64 now")


def test_fewer_cores_than_threads_are_named():
    assert "this machine has 2" in checks.seed_and_threads(TRAINED, 0, 2).detail
    assert "machine" not in checks.seed_and_threads(TRAINED, 0, 4).detail


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [
        (0.9, 0.9 + 5e-7, "same"),
        (0.9, 0.9 + 2e-6, "differs"),
        (1e6, 1e6 + 0.5, "same"),
        (1e6, 1e6 + 2, "differs"),
        (0.0, 5e-7, "same"),
        (math.nan, math.nan, "same"),
        (math.nan, 0.5, "differs"),
        (0.5, math.nan, "differs"),
    ],
)
def test_the_tolerance_is_absolute_for_small_and_relative_for_large_metrics(then, now, verdict):
    assert checks.metrics({"m": then}, {"m": now}, checks.EXACT).verdict == verdict


def test_the_metric_that_is_farthest_off_is_named():
    found = checks.metrics({"a": 0.5, "b": 100.0, "c": 0.2}, {"a": 0.6, "b": 101.0, "c": 0.2}, 1e-6)
    assert found.detail == "2 of 3: a 0.5 then, 0.6 now; largest difference 0.1 in a, tolerance 1e-06"


def test_a_metric_that_is_not_measured_any_more_differs():
    found = checks.metrics({"profit": 3.0}, {"auc": 0.5}, 1.0)
    assert (found.verdict, found.detail) == ("differs", "profit not measured any more")


def test_weights_must_be_equal_unless_something_excuses_them():
    same, other = checks.environment(HERE, HERE), checks.environment(HERE, with_packages(torch="3"))
    here = checks.machine(HERE, HERE)
    assert checks.why_free(TRAINED, same, here, gpus=0) == ""
    assert checks.why_free(TRAINED, other, here, gpus=0) == "another raymle or other packages"
    assert checks.why_free(TRAINED, same, here, gpus=1) == "a GPU"
    assert checks.why_free(TRAINED.model_copy(update={"workers": 2}), same, here, gpus=0) == "several workers"
    assert checks.weights(1e-9, free="").verdict == "differs"
    assert checks.weights(1e-9, free="several workers").verdict == "close"
    assert checks.weights(None, free="").detail == "bitwise equal"


def bundle(folder, **tensors):
    folder.mkdir()
    save_file(tensors, folder / "weights.safetensors")
    return folder


def test_networks_are_compared_bit_by_bit_whatever_their_order(tmp_path):
    first = bundle(tmp_path / "1", a=torch.tensor([1.0, math.nan]), b=torch.zeros(2), none=torch.zeros(0))
    again = bundle(tmp_path / "2", none=torch.zeros(0), b=torch.zeros(2), a=torch.tensor([1.0, math.nan]))
    assert apart(first, again, trees=False) is None
    near = bundle(tmp_path / "3", a=torch.tensor([1.0, 2.0]), b=torch.zeros(2))
    far = bundle(tmp_path / "4", a=torch.tensor([1.0, 2.5]), b=torch.zeros(2))
    assert apart(near, far, trees=False) == 0.5
    assert apart(near, bundle(tmp_path / "5", a=torch.zeros(3)), trees=False) == math.inf
    signs = bundle(tmp_path / "6", a=torch.tensor([0.0])), bundle(tmp_path / "7", a=torch.tensor([-0.0]))
    assert apart(*signs, trees=False) == 0.0, "not the same bits, and no distance"


def test_trees_are_compared_by_what_their_leaves_hold(tmp_path):
    import lightgbm

    draw = np.random.default_rng(0)
    features, target = draw.normal(size=(300, 3)), draw.normal(size=300)
    for rounds, shift in ((1, 0), (2, 0), (3, 1)):
        data = lightgbm.Dataset(features, target + shift * 100, params={"verbosity": -1})
        folder = tmp_path / str(rounds)
        folder.mkdir()
        model = lightgbm.train({"verbosity": -1, "num_threads": 1}, data, 5 if rounds < 3 else 6)
        (folder / "model.txt").write_text(model.model_to_string())
    assert apart(tmp_path / "1", tmp_path / "2", trees=True) is None
    assert apart(tmp_path / "1", tmp_path / "3", trees=True) == math.inf

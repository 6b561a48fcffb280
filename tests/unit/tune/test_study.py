import pytest

from raymle import loader, tune
from raymle.config.train import ResourcesConfig
from raymle.errors import ResourceError, SpecError, UsageError
from raymle.tune.capacity import group_size, needs, slots, wide
from raymle.tune.check import objectives

RATE = {"train.optimizer.learning_rate": {"loguniform": [1e-4, 1e-1]}}


def spec(space=RATE, *, train=None, evaluate=None, cluster=None, **settings):
    values = {"name": "t", "data": {"source": "x.csv", "target": "y"}, "tune": {"space": space, **settings}}
    return loader.from_mapping(values | {"train": train or {}, "evaluate": evaluate or {}, "cluster": cluster or {}})


def test_a_good_search_passes_the_check():
    assert tune.check(spec(trials=3)).trials == 3


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"algorithm": "evolution"}, "tune.algorithm evolution comes later"),
        ({"scheduler": "pbt", "space": {"model.params.hidden": {"choice": [[8], [16]]}}}, "model.params.hidden can't"),
        ({"scheduler": "hyperband", "space": {"model.type": {"choice": ["trees", "linear"]}}}, "trees and loops"),
        ({"scheduler": "pbt", "train": {"workers": 2}}, "pbt needs trials of one worker"),
        ({"algorithm": "gp", "objectives": ["roc_auc", "parameters"]}, "gp knows one objective"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_starts(settings, says):
    with pytest.raises(UsageError, match=says):
        tune.check(spec(**settings))


def test_an_objective_that_no_trial_reports_is_refused_with_a_suggestion():
    with pytest.raises(SpecError, match="no trial reports 'parameter'") as refused:
        tune.check(spec(algorithm="nsga2", objectives=["roc_auc", "parameter"]))
    assert refused.value.hint == "did you mean parameters?"


def test_the_deciding_metric_comes_first_among_the_objectives():
    with pytest.raises(SpecError, match="starts with 'parameters', and the metric that decides is roc_auc"):
        objectives(spec(objectives=["parameters", "roc_auc"]), "roc_auc")
    asked = objectives(spec(objectives=["roc_auc", "parameters", "validation_loss"]), "roc_auc")
    assert asked == {"roc_auc": True, "parameters": False, "validation_loss": False}


@pytest.mark.parametrize("budget", [{"minutes": 0}, {"dollars": 0}, {"no_improvement": 0}])
def test_a_budget_of_nothing_is_refused(budget):
    with pytest.raises(SpecError, match=f"tune.budget.{next(iter(budget))}"):
        spec(budget=budget)


def test_a_budget_of_dollars_needs_a_price():
    with pytest.raises(UsageError, match="no node has a price"):
        tune.check(spec(budget={"dollars": 3}))
    assert tune.check(spec(budget={"dollars": 3}, cluster={"dollars_per_hour": 1.5})).budget.dollars == 3


def test_a_misspelt_path_is_found_before_anything_starts():
    with pytest.raises(SpecError, match=r"tune.space: train.optimizer.learning_rat can't be"):
        tune.check(spec({"train.optimizer.learning_rat": {"uniform": [0.1, 0.2]}}))


def test_a_value_that_its_path_cannot_take_is_found_even_in_the_last_option():
    with pytest.raises(SpecError, match=r"train.optimizer.type can't be 'adamx'"):
        tune.check(spec({"train.optimizer.type": {"choice": ["adam", "sgd", "adamx"]}}))


def test_a_grid_over_a_continuous_range_is_refused_before_anything_starts():
    with pytest.raises(SpecError, match="no grid"):
        tune.check(spec(algorithm="grid"))


def test_trials_at_one_time_are_counted_node_by_node():
    two = [{"CPU": 3.0}, {"CPU": 3.0}]
    assert slots(two, ResourcesConfig(cpu=2)) == 2
    assert slots([{"CPU": 1.0}], ResourcesConfig(cpu=0.1)) == 10
    assert slots([{"CPU": 8.0, "GPU": 1.0}], ResourcesConfig(cpu=1, gpu=0.5)) == 2


def test_a_trial_that_fits_no_node_is_refused_with_the_arithmetic():
    with pytest.raises(ResourceError, match=r"needs 4 CPU .* on one node; the cluster has 2 CPU, 0 GPU and 2 CPU"):
        slots([{"CPU": 2.0}, {"CPU": 2.0}], ResourcesConfig(cpu=4))


def test_workers_of_a_trial_are_counted_over_all_nodes():
    nodes = [{"CPU": 3.0}, {"CPU": 2.0}]
    assert slots(nodes, ResourcesConfig(cpu=1), workers=2) == 2
    with pytest.raises(ResourceError, match=r"needs 3 workers, each with 2 CPU .* room for 2: no trial fits"):
        slots(nodes, ResourcesConfig(cpu=2), workers=3)


def test_an_actor_that_only_drives_workers_takes_no_cpu_from_them():
    assert needs(ResourcesConfig(cpu=2), workers=2)["CPU"] == 0
    assert needs(ResourcesConfig(cpu=2, gpu=0.5)) == {"CPU": 2, "GPU": 0.5}


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"algorithm": "random", "trials": 64}, 32),
        ({"algorithm": "tpe", "trials": 64}, 8),
        ({"algorithm": "random", "trials": 1000}, 64),
        ({"algorithm": "random", "trials": 64, "fuse": False}, 1),
        ({"algorithm": "tpe", "trials": 20}, 1),
        ({"algorithm": "random", "trials": 64, "scheduler": "median"}, 1),
    ],
)
def test_an_algorithm_that_learns_from_trials_gets_smaller_stacks(settings, size):
    assert group_size(tune.check(spec(**settings)), at_once=2) == size


@pytest.mark.parametrize(
    ("nodes", "at_once", "expected"), [([2], 1, 2), ([8], 3, 2.6666), ([4, 4], 2, 4), ([0, 4], 1, 4), ([8, 2], 2, 4)]
)
def test_trials_that_are_paused_ask_for_so_much_that_no_more_than_some_fit(nodes, at_once, expected):
    nodes = [{"CPU": cpu} for cpu in nodes]
    found = wide(nodes, ResourcesConfig(), at_once)
    assert found.cpu == expected
    assert slots(nodes, found) == at_once


def test_fewer_paused_trials_than_nodes_at_one_time_are_refused():
    with pytest.raises(ResourceError, match="can't keep 2 nodes to 1 at one time"):
        wide([{"CPU": 4}, {"CPU": 4}], ResourcesConfig(), 1)

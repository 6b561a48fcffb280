import pytest

from raymle import loader, tune
from raymle.config.train import ResourcesConfig
from raymle.errors import ResourceError, SpecError, UsageError
from raymle.tune.study import slots

RATE = {"train.optimizer.learning_rate": {"loguniform": [1e-4, 1e-1]}}


def spec(space=RATE, *, train=None, evaluate=None, **settings):
    values = {"name": "t", "data": {"source": "x.csv", "target": "y"}, "tune": {"space": space, **settings}}
    return loader.from_mapping(values | {"train": train or {}, "evaluate": evaluate or {}})


def test_a_good_search_passes_the_check():
    assert tune.check(spec(trials=3)).trials == 3


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"algorithm": "cmaes"}, "tune.algorithm cmaes comes later"),
        ({"scheduler": "pbt"}, "tune.scheduler pbt comes later"),
        ({"budget": {"dollars": 3}}, "tune.budget.dollars comes later"),
        ({"evaluate": {"limits": ["latency_p95_ms <= 20"]}}, "evaluate.limits"),
        ({"train": {"workers": 2}}, "more than one worker comes later"),
    ],
)
def test_what_is_not_there_yet_is_refused_before_anything_starts(settings, says):
    with pytest.raises(UsageError, match=says):
        tune.check(spec(**settings))


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

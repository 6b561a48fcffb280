"""From a spec with choices, or from records, to the table: what is refused before anything is trained or measured."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

import raymle
from raymle import comparing, loader, planning
from raymle.comparing.facts import dollars, names
from raymle.comparing.table import check_alike
from raymle.errors import ConflictError, DataError, RaymleError, SpecError, UsageError
from raymle.records import Trained

ROWS = 400


def spec(**sections):
    return loader.from_mapping({"name": "t", "data": {"source": "x.csv", "target": "y"}, **sections})


def record(run_id="a", **values):
    facts = {
        "run_id": run_id, "name": "t", "status": "finished", "task": "classification", "metric": "roc_auc",
        "metrics": {"validation": {"roc_auc": 0.9}}, "bundle": "b", "splits_id": "s", "rows": {}, "seconds": {},
        "execution": "inline", "model": "mlp", "parameters": 1,
    }  # fmt: skip
    return Trained(**{**facts, **values})


def choices(**ranges):
    return {path.replace("__", "."): {"choice": values} for path, values in ranges.items()}


def test_every_combination_is_a_spec_and_another_type_has_its_own_parameters():
    mine = spec(model={"type": "mlp", "params": {"hidden": [64]}})
    found = comparing.variants(mine, choices(model__type=["linear", "mlp", "trees"], train__seed=[0, 1]))
    assert [(each.model.type, each.train.seed) for each in found] == [
        ("linear", 0), ("linear", 1), ("mlp", 0), ("mlp", 1), ("trees", 0), ("trees", 1),
    ]  # fmt: skip
    assert [each.model.params for each in found[::2]] == [{}, {"hidden": [64]}, {}]


def test_models_are_named_by_what_tells_them_apart():
    mine = spec(model={"type": "mlp"})
    found = comparing.variants(mine, choices(model__params__hidden=[[64], [256, 128]]))
    assert names(found) == ["mlp, hidden 64", "mlp, hidden 256-128"]


@pytest.mark.parametrize(
    ("ranges", "error", "says"),
    [
        ({}, UsageError, "choices to train"),
        (choices(split__seed=[0, 1]), UsageError, "split.seed cannot be compared: other rows would judge"),
        ({"train.optimizer.learning_rate": {"loguniform": [1e-4, 1e-1]}}, UsageError, "range of numbers"),
        (choices(model__type=["linear", "mpl"]), SpecError, "'mpl' is none of linear, mlp"),
        (choices(model__type=["linear", "cells"]), UsageError, "model.type cells comes later"),
        (choices(model__params__hiden=[[4], [8]]), SpecError, "model.params.hiden is not a parameter of mlp"),
        (choices(train__epoch=[1, 2]), SpecError, "train.epoch is not a setting"),
    ],
)
def test_choices_that_cannot_be_trained_or_compared_are_refused_at_once(ranges, error, says):
    with pytest.raises(error, match=says):
        comparing.variants(spec(model={"type": "mlp"}), ranges)


@pytest.mark.parametrize(
    ("other", "error", "says"),
    [
        ({"splits_id": "other"}, ConflictError, "runs a and b were judged on other rows"),
        ({"metric": "accuracy"}, ConflictError, "roc_auc decides in run a, and accuracy in run b"),
        ({"metrics": {"validation": {"accuracy": 1.0}}}, DataError, "run b has no roc_auc"),
    ],
)
def test_runs_whose_quality_cannot_be_compared_are_refused(other, error, says):
    check_alike([record()])
    with pytest.raises(error, match=says):
        check_alike([record(), record("b", **other)])


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ({}, 0.0),
        ({"address": "local"}, 0.0),
        ({"address": "local", "dollars_per_hour": 2.0}, 1.0),
        ({"address": "ray://far:10001", "dollars_per_hour": 2.0}, 1.0),
        ({"address": "ray://far:10001", "dollars_per_hour": 0}, 0.0),
        ({"address": "ray://far:10001"}, None),
    ],
)
def test_training_costs_its_seconds_of_a_node_and_nothing_on_your_own_machine(cluster, expected):
    assert dollars(1800, spec(cluster=cluster)) == expected


@pytest.mark.parametrize("price", [-1, "free"])
def test_a_price_is_a_number_that_is_not_negative(price):
    with pytest.raises(SpecError, match=r"cluster\.dollars_per_hour"):
        spec(cluster={"dollars_per_hour": price})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparing")
    draw = np.random.default_rng(0)
    number = draw.normal(size=ROWS)
    table = pa.table({"number": number, "other": draw.normal(size=ROWS), "y": np.where(number > 0, "yes", "no")})
    pyarrow.csv.write_csv(table, folder / "x.csv")
    return folder


def here(folder, **sections):
    return loader.from_mapping({"name": "t", "data": {"source": "x.csv", "target": "y"}, **sections}, folder)


def test_a_name_that_is_none_is_found_before_anything_is_trained(folder):
    known = comparing.known([here(folder)])
    comparing.check(known, "roc_auc", ["latency_p95_ms <= 5", "accuracy > 0"])
    with pytest.raises(SpecError, match="latency_p59_ms is not a column or a metric") as caught:
        comparing.check(known, None, ["latency_p59_ms <= 5"])
    assert "did you mean latency_p95_ms?" in caught.value.hint
    with pytest.raises(SpecError, match="--pick 'rmse' is not"):
        comparing.check(known, "rmse", [])


def test_limits_of_a_spec_may_name_columns_and_metrics_and_nothing_else(folder):
    limits = ["latency_p95_ms <= 20", "memory_mb <= 500", "roc_auc >= 0.5", "dollars < 1"]
    planning.plan(here(folder, evaluate={"limits": limits}), "train")
    with pytest.raises(SpecError, match=r"evaluate.limits 'latency_p59_ms <= 20': latency_p59_ms is not") as caught:
        planning.plan(here(folder, evaluate={"limits": ["latency_p59_ms <= 20"]}), "train")
    assert "did you mean latency_p95_ms?" in caught.value.hint


def test_a_plan_names_every_model_and_starts_nothing(folder):
    before = sorted(folder.rglob("*"))
    told = comparing.plan(comparing.variants(here(folder), choices(model__type=["linear", "trees"])))
    assert (told.verb, told.steps[:2]) == ("compare", ("train linear", "train trees"))
    assert told.seconds
    assert sorted(folder.rglob("*")) == before


def test_a_training_that_fails_names_the_runs_before_it(folder, capsys):
    varied = comparing.variants(
        here(folder, train={"epochs": 2, "batch_size": 64, "optimizer": {"clip_norm": None}}),
        choices(train__optimizer__learning_rate=[1e-3, 1e30]),
    )
    with pytest.raises(RaymleError, match="training stopped") as caught:
        comparing.train(varied)
    assert "raymle compare 20" in caught.value.hint
    assert "model 2 of 2: mlp, learning_rate 1e+30" in capsys.readouterr().err


def test_runs_are_compared_from_python(folder, tmp_path):
    experiment = raymle.Experiment(name="t", data=str(folder / "x.csv"), target="y", storage=str(tmp_path / "runs"))
    runs = [experiment.train(model__type=kind, train__epochs=1) for kind in ("linear", "mlp")]
    found = raymle.compare(runs, output=tmp_path / "page")
    assert [row.run_id for row in found.rows] == [run.id for run in runs]
    assert [row.quality for row in found.rows] == [run.metrics["roc_auc"] for run in runs]
    assert [row.train_seconds for row in found.rows] == [run.record.seconds["train"] for run in runs]
    assert {row.dollars for row in found.rows} == {0.0}
    assert found.rows[0].interval == runs[0].record.intervals["roc_auc"]
    assert "linear" in repr(found)
    assert "<table>" in found._repr_html_()
    assert found.pick("roc_auc", "latency_p95_ms <= 1e6").run_id in {run.id for run in runs}
    assert (tmp_path / "page" / "tradeoff.html").is_file()
    again = raymle.compare(["last", runs[1].id], storage=str(tmp_path / "runs"))
    assert [row.run_id for row in again.rows] == [runs[1].id]

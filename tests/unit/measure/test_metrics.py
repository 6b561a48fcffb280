import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymle.measure import metrics


def classes(seed: int, rows: int, count: int, digits: int = 6):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(rows) % count)
    predicted = rng.dirichlet(np.ones(count), rows)
    if digits < 6:  # few distinct scores: ties
        predicted = np.round(predicted, digits) + 10**-digits
        predicted /= predicted.sum(axis=1, keepdims=True)
    return y, predicted


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 300), st.integers(1, 6))
def test_two_classes_agree_with_scikit_learn(seed, rows, digits):
    from sklearn import metrics as reference

    y, predicted = classes(seed, rows, 2, digits)
    said = predicted.argmax(axis=1)
    expected = {
        "accuracy": reference.accuracy_score(y, said),
        "roc_auc": reference.roc_auc_score(y, predicted[:, 1]),
        "average_precision": reference.average_precision_score(y, predicted[:, 1]),
        "log_loss": reference.log_loss(y, predicted),
        "f1": reference.f1_score(y, said, zero_division=0),
    }
    assert metrics.compute("classification", y, predicted) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 9), st.integers(1, 6))
def test_many_classes_agree_with_scikit_learn(seed, count, digits):
    from sklearn import metrics as reference

    y, predicted = classes(seed, 200, count, digits)
    said = predicted.argmax(axis=1)
    expected = {
        "accuracy": reference.accuracy_score(y, said),
        "roc_auc": reference.roc_auc_score(y, predicted, multi_class="ovr"),
        "average_precision": reference.average_precision_score(np.eye(count)[y], predicted),
        "log_loss": reference.log_loss(y, predicted),
        "f1": reference.f1_score(y, said, average="macro", zero_division=0),
    }
    assert metrics.compute("classification", y, predicted) == pytest.approx(expected, abs=1e-12)


def test_regression_agrees_with_scikit_learn_far_from_zero():
    from sklearn import metrics as reference

    rng = np.random.default_rng(0)
    y = rng.normal(1e6, 3, 500)
    predicted = y + rng.normal(0, 2, 500)
    expected = {
        "r2": reference.r2_score(y, predicted),
        "rmse": reference.root_mean_squared_error(y, predicted),
        "mae": reference.mean_absolute_error(y, predicted),
    }
    assert metrics.compute("regression", y, predicted) == pytest.approx(expected, rel=1e-9)


def test_the_positive_class_may_be_the_first():
    from sklearn import metrics as reference

    y, predicted = classes(1, 200, 2)
    found = metrics.compute("classification", y, predicted, positive_index=0)
    assert found["average_precision"] == pytest.approx(reference.average_precision_score(y == 0, predicted[:, 0]))
    assert found["f1"] == pytest.approx(reference.f1_score(y, predicted.argmax(axis=1), pos_label=0))


@pytest.mark.parametrize("value", [0, 1])
def test_what_one_class_leaves_undefined_is_absent(value):
    y, predicted = np.full(50, value), classes(0, 50, 2)[1]
    found = metrics.compute("classification", y, predicted)
    assert "roc_auc" not in found
    assert found["accuracy"] >= 0
    assert "roc_auc" not in metrics.intervals("classification", y, predicted)


def test_no_rows_have_no_metrics():
    assert metrics.compute("regression", np.empty(0), np.empty(0)) == {}
    assert metrics.intervals("regression", np.empty(0), np.empty(0)) == {}


def test_a_constant_target_has_an_error_but_no_r2():
    found = metrics.compute("regression", np.ones(5), np.full(5, 2.0))
    assert found == {"rmse": 1.0, "mae": 1.0}


def test_one_metric_alone_is_what_it_is_among_all_and_needs_no_scikit_learn():
    code = (
        "import sys, numpy as np; from raymle.measure import metrics;"
        "y = np.arange(100) % 2; p = np.linspace(0, 1, 100); p = np.stack([1 - p, p], axis=1);"
        "one = metrics.compute('classification', y, p, only='roc_auc');"
        "assert one == {'roc_auc': metrics.compute('classification', y, p)['roc_auc']};"
        "metrics.intervals('classification', y, p);"
        "assert not {'sklearn', 'scipy', 'torch'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_truth_is_inside_about_95_of_100_intervals():
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(60):
        y = (rng.random(400) < 0.3).astype(np.int64)
        predicted = np.tile([0.9, 0.1], (400, 1))  # always says no: accuracy is 0.7
        low, high = metrics.intervals("classification", y, predicted, seed=seed)["accuracy"]
        inside += low <= 0.7 <= high
    assert inside >= 52


def test_an_interval_from_a_part_of_the_rows_is_as_wide_as_from_all(monkeypatch):
    y, predicted = classes(3, 30_000, 2)
    predicted[:, 1] = np.clip(predicted[:, 1] * 0.6 + y * 0.3, 0, 1)
    predicted[:, 0] = 1 - predicted[:, 1]
    part = metrics.intervals("classification", y, predicted)
    monkeypatch.setattr(metrics, "INTERVAL_ROWS", 30_000)
    whole = metrics.intervals("classification", y, predicted)
    points = metrics.compute("classification", y, predicted)
    for name, (low, high) in part.items():
        assert low < points[name] < high
        assert high - low == pytest.approx(whole[name][1] - whole[name][0], rel=0.25)


def test_intervals_are_the_same_each_time():
    y, predicted = classes(0, 300, 3)
    first = metrics.intervals("classification", y, predicted, seed=4)
    assert first == metrics.intervals("classification", y, predicted, seed=4)
    assert first != metrics.intervals("classification", y, predicted, seed=5)


def test_beyond_20_classes_only_what_ranks_nothing_has_an_interval():
    y, predicted = classes(0, 300, 25)
    assert set(metrics.intervals("classification", y, predicted)) == {"accuracy", "log_loss"}


def test_a_users_metric_sees_one_for_positive_and_its_probability():
    y, predicted = classes(0, 20, 2)
    seen = {}

    def profit(truth, probability):
        seen.update(truth=truth, probability=probability)
        return truth.sum()

    found = metrics.compute("classification", y, predicted, positive_index=0, extra={"profit": profit})
    assert found["profit"] == 10
    assert (seen["truth"] == (y == 0)).all()
    assert (seen["probability"] == predicted[:, 0]).all()
    only = metrics.compute("classification", y, predicted, extra={"profit": profit}, only="profit")
    assert set(only) == {"profit"}


def test_a_users_metric_that_is_no_number_is_absent():
    found = metrics.compute("regression", np.ones(3), np.ones(3), extra={"bad": lambda y, p: float("nan")})
    assert "bad" not in found


def test_the_names_are_those_that_are_computed():
    y, predicted = classes(0, 30, 2)
    assert metrics.names("classification", 2) == tuple(metrics.compute("classification", y, predicted))
    assert metrics.names("regression") == ("r2", "rmse", "mae")


def test_each_task_has_its_own_deciding_metric_and_direction():
    assert metrics.primary("classification", 2) == "roc_auc"
    assert metrics.primary("classification", 3) == "accuracy"
    assert metrics.primary("regression", 0) == "rmse"
    assert metrics.better("rmse", 1, 2)
    assert not metrics.better("roc_auc", 0.5, 0.5)
    assert metrics.higher_is_better("profit")

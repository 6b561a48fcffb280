import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from studies import progress, row

from raymle.tune import progress as seen


@pytest.mark.parametrize(("is_maximised", "first"), [(True, 2), (False, 1)])
def test_the_best_is_by_the_metrics_direction(is_maximised, first):
    study = progress(row(1, score=0.6), row(2, score=0.8), is_maximised=is_maximised)
    assert seen.best(study).number == first


def test_the_best_has_a_model_so_it_neither_runs_nor_failed():
    study = progress(
        row(1, "finished", 0.5), row(2, "stopped", 0.6), row(3, "running", 0.9), row(4, "failed", 0.95)
    )  # fmt: skip
    assert seen.best(study).number == 2
    assert [each.number for each in seen.leaders(study, 2)] == [3, 2]


def test_a_score_that_is_no_number_leads_nothing_and_of_equals_the_earlier_leads():
    study = progress(row(1, score=None), row(2, score=math.nan), row(3, score=0.5), row(4, score=0.5))
    assert [each.number for each in seen.leaders(study, 8)] == [3, 4]
    assert seen.best(progress(row(1, score=None))) is None
    assert seen.best(progress()) is None


def test_only_stopped_trials_save_epochs():
    study = progress(
        row(1, "stopped", epochs=3), row(2, "stopped", epochs=1), row(3, "failed", epochs=2),
        row(4, "running", epochs=2), row(5, epochs=6),
    )  # fmt: skip
    assert seen.epochs_saved(study) == 7 + 9


def test_nothing_is_estimated_before_a_trial_ended():
    assert seen.eta_s(progress(row(1, "running", seconds=50.0), minutes=1.0)) is None


def test_the_estimate_is_the_work_left_over_those_at_once():
    ended = [row(number, seconds=10.0) for number in (1, 2)]
    assert seen.eta_s(progress(*ended, trials=10, at_once=4)) == 20
    assert seen.eta_s(progress(*ended, row(3, "running", seconds=4.0), trials=3, at_once=4)) == 6
    assert seen.eta_s(progress(*ended, row(3, "running", seconds=99.0), trials=3)) == 0
    assert seen.eta_s(progress(*ended, trials=2)) == 0


def test_the_estimate_never_passes_the_budget():
    study = progress(row(1, seconds=100.0), trials=100, minutes=2.0, elapsed_s=100.0)
    assert seen.eta_s(study) == 20
    assert seen.eta_s(seen.later(study, 1000.0)) == 0


@given(st.lists(st.sampled_from(["running", "finished", "stopped", "failed"]), max_size=30), st.integers(0, 40))
def test_the_estimate_is_never_negative_and_exists_once_a_trial_ended(states, trials):
    rows = [row(number, state, seconds=float(number)) for number, state in enumerate(states, 1)]
    estimate = seen.eta_s(progress(*rows, trials=trials, at_once=3))
    assert (estimate is None) == all(state == "running" for state in states)
    assert estimate is None or estimate >= 0


def test_time_goes_on_for_what_runs():
    study = seen.later(progress(row(1, seconds=5.0), row(2, "running", seconds=5.0), elapsed_s=7.0), 3.0)
    assert study.elapsed_s == 10
    assert [each.seconds for each in study.rows] == [5, 8]


def test_the_line_of_a_trial():
    settings = {"train.optimizer.learning_rate": 0.0123456, "model.params.hidden": [64, 32]}
    assert seen.line(row(3, "stopped", 0.51239, epochs=1, settings=settings), 7) == (
        "trial 7  0.5124  stopped   1 epoch  learning_rate=0.0123 hidden=[64,32]"
    )
    assert seen.line(row(3, "failed", None, epochs=2, settings={"a": 1}, reason="ValueError: no\nmore"), 1) == (
        "trial 1  -  failed    2 epochs  a=1: ValueError: no"
    )


def test_a_reason_does_not_move_the_cursor():
    assert seen.cause(row(1, "failed", reason="\n\x1b[2Jgone\tnow\nmore")) == " [2Jgone now"


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (None, "-"),
        (0.5, "0.5000"),
        (0.0, "0.0000"),
        (0.0000123, "1.23e-05"),
        (-1234.5, "-1234.5000"),
        (1.5e9, "1.5e+09"),
    ],
)
def test_a_score_shows_its_digits_whatever_its_size(score, text):
    assert seen.number(score) == text


def test_paths_are_told_apart_by_as_little_as_it_takes():
    assert seen.endings(["train.optimizer.type", "model.type", "model.params.dropout", "type"]) == {
        "train.optimizer.type": "optimizer.type", "model.type": "model.type", "model.params.dropout": "dropout",
        "type": "type",
    }  # fmt: skip

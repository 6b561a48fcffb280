"""Who may go on: the same decisions as Ray Tune's scheduler."""

import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import ASHAScheduler

from raymle.tune.halving import Halving

SCORES = st.one_of(st.floats(-1e6, 1e6), st.integers(-2, 2).map(float), st.sampled_from([math.nan, 0.0]))


def drive(theirs, ours, reports):
    """Let both hear the same reports, of trials that both let go on, and return both lists of decisions."""
    trials, stopped, found = {}, set(), ([], [])
    for name, epoch, score in reports:
        if name in stopped:
            continue
        if name not in trials:
            trials[name] = SimpleNamespace(trial_id=name)
            theirs.on_trial_add(None, trials[name])
        found[0].append(theirs.on_trial_result(None, trials[name], {"epoch": epoch, "score": score}) != "STOP")
        found[1].append(ours.hear(name, epoch, score))
        if not found[0][-1]:
            stopped.add(name)
    return found


@given(
    st.sampled_from(["max", "min"]),
    st.integers(2, 300),
    st.sampled_from([2, 3, 4]),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 11), st.integers(1, 4), SCORES), max_size=120),
)
@pytest.mark.filterwarnings("ignore:All-NaN")
def test_every_decision_is_that_of_ray_tunes_scheduler(mode, most_epochs, reduction_factor, grace, draws):
    if most_epochs <= grace:
        return
    theirs = ASHAScheduler(
        time_attr="epoch", metric="score", mode=mode, max_t=most_epochs - 1, grace_period=grace,
        reduction_factor=reduction_factor, stop_last_trials=False,
    )  # fmt: skip
    ours = Halving(mode, most_epochs, reduction_factor=reduction_factor, grace=grace)
    epochs, reports = dict.fromkeys(range(12), 0), []
    for place, step, score in draws:  # epochs rise; now and then some are left out
        epochs[place] += step
        reports.append((f"trial {place}", epochs[place], score))
    wanted, found = drive(theirs, ours, reports)
    assert found == wanted


@pytest.mark.parametrize("most_epochs", [2, 3, 4, 9, 10, 28, 82, 244, 245, 730])
def test_the_rungs_are_ray_tunes(most_epochs):
    draw = np.random.default_rng(most_epochs)
    theirs = ASHAScheduler(
        time_attr="epoch", metric="score", mode="max", max_t=most_epochs - 1, reduction_factor=3, stop_last_trials=False
    )
    reports = [
        (f"trial {trial}", epoch, float(draw.normal())) for epoch in range(1, most_epochs + 1) for trial in range(20)
    ]
    wanted, found = drive(theirs, Halving("max", most_epochs), reports)
    assert found == wanted
    assert not all(found)


def test_the_worse_of_two_is_stopped_at_the_first_rung_and_a_lower_loss_is_better():
    rule = Halving("min", 10)
    assert rule.hear("a", 1, 0.5)
    assert not rule.hear("b", 1, 0.6)
    assert rule.hear("c", 1, 0.4)


def test_a_score_that_is_no_number_neither_stops_its_trial_nor_another():
    rule = Halving("max", 10)
    assert rule.hear("a", 1, math.nan)
    assert rule.hear("b", 1, 0.1)
    assert not rule.hear("c", 1, 0.05)


def test_a_trial_of_one_epoch_has_no_early_end():
    rule = Halving("max", 1)
    assert all(rule.hear(str(place), 1, -float(place)) for place in range(9))


def test_the_rule_needs_no_ray():
    code = "import raymle.tune.halving, sys; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""Where the usual ends."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raymle.measure.threshold import WITHOUT, best

ROWS = st.integers(1, 40).flatmap(
    lambda rows: st.tuples(arrays(np.float64, rows, elements=st.integers(-5, 5)), arrays(np.bool_, rows))
)


def f1(scores, odd, threshold):
    said = scores > threshold
    return 2 * (said & odd).sum() / max(1, said.sum() + odd.sum())


@given(ROWS)
def test_no_threshold_has_a_better_f1(rows):
    scores, odd = rows
    if not odd.any():
        return
    found = best(scores, odd)
    ends = [*(np.unique(scores) - 0.5), scores.max() + 0.5]
    assert f1(scores, odd, found.value) == max(f1(scores, odd, end) for end in ends)
    assert found.scale > 0


def test_it_lies_in_the_middle_of_what_is_apart():
    found = best(np.array([0.0, 1.0, 5.0]), np.array([False, False, True]))
    assert (found.value, found.scale, found.told) == (3.0, 0.5, ())


def test_without_anomalies_it_leaves_one_usual_row_of_a_hundred_above_and_says_so():
    scores = np.arange(1000.0)
    found = best(scores, np.zeros(1000, bool))
    assert (scores > found.value).sum() == 10
    assert WITHOUT == 0.99
    assert "no validation row is an anomaly" in found.told[0]

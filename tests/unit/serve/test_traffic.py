"""Who answers a request, and when a challenger has to go."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymle.config.traffic import GuardConfig
from raymle.serve import traffic
from raymle.serve.history import Model, Wanted
from raymle.serve.traffic import Evidence, Side

GUARD = GuardConfig()


def challenger(share, number=7):
    return Wanted(number=number, model=Model(version="2", place="native/2"), share=share)


def test_about_a_tenth_of_the_keys_go_to_a_canary_of_a_tenth():
    taken = sum(traffic.goes_to_challenger(f"customer {each}", challenger(0.1)) for each in range(10_000))
    assert 900 < taken < 1_100


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_key_that_the_challenger_has_stays_with_it_when_its_share_grows(key, one, other):
    small, large = sorted([one, other])
    if traffic.goes_to_challenger(key, challenger(small)):
        assert traffic.goes_to_challenger(key, challenger(large))


@given(st.text())
def test_nobody_goes_to_a_share_of_nothing_and_all_to_the_whole(key):
    assert not traffic.goes_to_challenger(key, challenger(0.0))
    assert traffic.goes_to_challenger(key, challenger(1.0))


def test_another_canary_gets_other_keys():
    keys = [f"customer {each}" for each in range(1_000)]
    first, second = ({key for key in keys if traffic.goes_to_challenger(key, challenger(0.5, n))} for n in (7, 8))
    assert first != second


def test_a_challenger_that_fails_its_first_requests_goes_before_it_has_failed_many():
    assert traffic.fault(Evidence(challenger=Side(requests=3, errors=3)), GUARD) == (
        "it failed 3 of 3 requests, over serve.guard.errors 0.02"
    )


@pytest.mark.parametrize(("requests", "errors"), [(3, 2), (1_000, 20), (150, 3)])
def test_a_few_errors_among_many_are_allowed(requests, errors):
    assert traffic.fault(Evidence(challenger=Side(requests=requests, errors=errors)), GUARD) == ""


def side(milliseconds, requests=60):
    found = Side(requests=requests)
    found.seconds.extend([milliseconds / 1000] * requests)
    return found


def test_a_challenger_that_is_much_slower_goes():
    why = traffic.fault(Evidence(champion=side(5), challenger=side(20)), GUARD)
    assert why == "it took 20.0 ms (95th percentile), 4.0 times the champion's 5.0 ms, over serve.guard.latency 3"


@pytest.mark.parametrize(
    ("champion", "mine"), [(side(5), side(14)), (side(0.5), side(4)), (side(5), side(50, requests=20))]
)
def test_a_little_slower_or_too_few_requests_are_no_reason(champion, mine):
    assert traffic.fault(Evidence(champion=champion, challenger=mine), GUARD) == ""


def test_a_challenger_that_answers_otherwise_goes():
    why = traffic.fault(Evidence(compared=100, disagreed=30), GUARD)
    assert why == "it answered 30% of 100 rows otherwise than the champion, over serve.guard.disagreement 0.25"
    assert traffic.fault(Evidence(compared=100, disagreed=25), GUARD) == ""


def test_what_is_null_is_not_looked_at():
    seen = Evidence(side(1), Side(requests=99, errors=99, seconds=side(900).seconds), compared=99, disagreed=99)
    assert traffic.fault(seen, GuardConfig(errors=None, latency=None, disagreement=None)) == ""


def test_classes_differ_by_the_likeliest_and_numbers_by_a_tenth_of_a_deviation():
    assert traffic.differing(np.array([[0.4, 0.6], [0.9, 0.1]]), np.array([[0.1, 0.9], [0.4, 0.6]]), 1.0) == 1
    assert traffic.differing(np.array([1.0, 5.0, 9.0]), np.array([1.1, 5.3, 9.0]), 2.0) == 1

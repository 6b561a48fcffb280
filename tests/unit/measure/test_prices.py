import re

import pytest

from raymle.measure import prices


def test_what_is_given_wins_over_the_list_and_the_unknown_stays_unknown():
    assert prices.per_hour("m5.xlarge", 0.05) == 0.05
    assert prices.per_hour("m5.xlarge", 0.0) == 0.0
    assert prices.per_hour("m5.xlarge", None) == prices.DOLLARS_PER_HOUR["m5.xlarge"]
    assert prices.per_hour("m5.xxlarge", None) is None
    assert prices.per_hour(None, None) is None


def test_an_hour_costs_the_price():
    assert prices.cost(3600, 0.192) == pytest.approx(0.192)
    assert prices.cost(90, 4.0) == pytest.approx(0.1)


def test_the_list_is_dated_and_has_processors_and_accelerators_of_three_providers():
    assert re.fullmatch(r"20\d\d-\d\d", prices.DATE)
    assert {
        "m5.xlarge",
        "g5.xlarge",
        "n2-standard-4",
        "a2-highgpu-1g",
        "Standard_D4s_v5",
        "Standard_NC4as_T4_v3",
    } <= set(prices.DOLLARS_PER_HOUR)
    assert all(0 < price < 200 for price in prices.DOLLARS_PER_HOUR.values())

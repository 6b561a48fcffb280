from pathlib import Path

import pytest

from raymle.errors import GateRefused
from raymle.evaluate import Candidate, first_within
from raymle.evaluate.limits import excess

CHEAP, FAST, SLOW = {"size_mb": 1.0, "roc_auc": 0.9}, {"latency_p95_ms": 2.0}, {"latency_p95_ms": 8.0}


def candidate(name, **facts):
    return Candidate(name, Path(name), CHEAP | facts)


class Bench:
    """Measures by looking things up, and remembers the order."""

    def __init__(self, **found):
        self.found, self.seen = found, []

    def __call__(self, bundle):
        self.seen.append(bundle.name)
        return self.found[bundle.name]


def test_the_first_within_all_limits_wins_and_nobody_after_it_is_measured():
    measure = Bench(best=SLOW, second=FAST, third=FAST)
    found = first_within([candidate("best"), candidate("second"), candidate("third")], ["latency_p95_ms <= 5"], measure)
    assert found.name == "second"
    assert found.facts == CHEAP | FAST
    assert measure.seen == ["best", "second"]


def test_a_candidate_that_is_out_by_what_is_known_is_not_measured():
    measure = Bench(small=FAST)
    candidates = [candidate("large", size_mb=90.0), candidate("poor", roc_auc=0.5), candidate("small")]
    found = first_within(candidates, ["size_mb <= 10", "latency_p95_ms <= 5", "roc_auc >= 0.8"], measure)
    assert (found.name, measure.seen) == ("small", ["small"])


def test_limits_on_what_is_known_need_no_measurement():
    measure = Bench()
    assert first_within([candidate("only")], ["size_mb <= 10"], measure).name == "only"
    assert first_within([candidate("only")], [], measure).name == "only"
    assert measure.seen == []


def test_when_nobody_is_within_the_nearest_miss_is_named_with_its_values():
    measure = Bench(far={"latency_p95_ms": 20.0}, near={"latency_p95_ms": 5.5})
    with pytest.raises(GateRefused, match=r"the nearest miss is near: latency_p95_ms is 5\.5, latency_p95_ms <= 5"):
        first_within([candidate("far"), candidate("near")], ["latency_p95_ms <= 5"], measure)


def test_nobody_is_within_when_there_is_nobody():
    with pytest.raises(GateRefused, match="no model"):
        first_within([], ["latency_p95_ms <= 5"], Bench())


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["roc_auc >= 0.9"], 0.0),
        (["size_mb <= 0.5"], 1.0),
        (["size_mb <= 0.5", "roc_auc >= 0.95"], 1.0),
        (["size_mb <= 0"], 1.0),
        (["dollars <= 1"], float("inf")),
        (["latency_ms <= 1"], 0.0),
    ],
)
def test_the_excess_is_the_largest_distance_to_a_bound_as_a_share_of_it(conditions, expected):
    assert excess(conditions, CHEAP) == pytest.approx(expected)

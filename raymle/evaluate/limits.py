"""Conditions on what a model costs and how good it is: their names, who meets them, and who comes nearest. Pure."""

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from raymle.config import CONDITION
from raymle.errors import GateRefused, SpecError
from raymle.evaluate.gate import failing
from raymle.records import Metrics

MEASURED = ("latency_ms", "latency_p95_ms", "batch_latency_ms", "memory_mb")
"""What is known only once a bundle was measured."""
COSTS = (*MEASURED, "size_mb", "parameters", "train_seconds", "dollars", "epochs")
"""What is better when it is less."""
COLUMNS = ("quality", *COSTS)


class Candidate(NamedTuple):
    """A model that may win."""

    name: str
    bundle: Path
    facts: Metrics
    """What is known of it: its metrics, and of ``COLUMNS`` what needs no measuring."""


def check(where: str, conditions: Iterable[str], known: Sequence[str], *, kind: str) -> None:
    """Find a condition that is none, or on something that there is not.

    Args:
        where: Where the conditions are written, such as ``promote.require``.
        conditions: The conditions.
        known: The names that there are.
        kind: What those names are.

    Raises:
        SpecError: a condition cannot be read, or names something else.
    """
    for condition in conditions:
        if not CONDITION.match(condition):
            raise SpecError(f"{where} {condition!r} is not a condition", hint="such as 'latency_p95_ms <= 5'")
        name = parts(condition)[0]
        if name not in known:
            raise SpecError(f"{where} {condition!r}: {name} is not {kind}", hint=suggestion(name, known))


def check_name(where: str, name: str, known: Sequence[str], *, kind: str) -> None:
    """Find a name that there is not.

    Raises:
        SpecError: naming those that there are.
    """
    if name not in known:
        raise SpecError(f"{where} {name!r} is not {kind}", hint=suggestion(name, known))


def asked(conditions: Iterable[str]) -> set[str]:
    """Return the names that conditions are on."""
    return {parts(condition)[0] for condition in conditions}


def suggestion(name: str, known: Sequence[str]) -> str:
    """Return the nearest name, and all names."""
    near = difflib.get_close_matches(name, known, n=1)
    all_of_them = f"there are {', '.join(known)}"
    return f"did you mean {near[0]}? {all_of_them}" if near else all_of_them


def parts(condition: str) -> tuple[str, str, float]:
    """Return a condition's name, sign and bound."""
    match = CONDITION.match(condition)
    assert match, condition
    return match[1], match[2], float(match[3])


def excess(conditions: Iterable[str], facts: Metrics) -> float:
    """Return how far facts are from meeting all conditions: the largest distance to a bound, as a share of it.

    Of a bound of 0 the distance itself counts; a fact that nobody knows is infinitely far.
    """
    missed = (condition for condition in conditions if failing([condition], facts))
    return max((_distance(condition, facts) for condition in missed), default=0.0)


def _distance(condition: str, facts: Metrics) -> float:
    name, _, bound = parts(condition)
    if name in facts:
        return abs(facts[name] - bound) / (abs(bound) or 1)
    return 0.0 if name in MEASURED else math.inf  # it misses another limit, and was not measured for that


def refusal(conditions: Sequence[str], found: Iterable[tuple[str, Metrics]]) -> GateRefused:
    """Return the refusal of all, which names the nearest miss with its values."""
    nearest, facts = min(found, key=lambda each: excess(conditions, each[1]))
    return GateRefused(
        f"no model meets {' and '.join(conditions)}; the nearest miss is {nearest}: "
        + ", ".join(failing(conditions, facts)),
        hint="loosen a limit, or compare smaller models",
    )


def first_within(
    candidates: Iterable[Candidate], limits: Sequence[str], measure: Callable[[Path], Metrics]
) -> Candidate:
    """Return the first candidate that meets all limits, with all that is known of it.

    Only candidates within the limits on what is known already are measured, one at a time, and none when no limit asks
    for a measurement.

    Args:
        candidates: The best first.
        limits: The conditions.
        measure: Takes a bundle; returns the facts named in ``MEASURED``.

    Raises:
        GateRefused: no candidate meets them.
    """
    known = [limit for limit in limits if parts(limit)[0] not in MEASURED]
    seen: list[tuple[str, Metrics]] = []
    for name, bundle, facts in candidates:
        found = facts
        if len(known) < len(limits) and not failing(known, facts):
            found = facts | measure(bundle)
        if not failing(limits, found):
            return Candidate(name, bundle, found)
        seen.append((name, found))
    raise refusal(limits, seen) if seen else GateRefused("there is no model to choose from")

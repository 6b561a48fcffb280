"""Who answers a request, champion or challenger, and when a challenger has to go; pure."""

from collections import deque
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from raymle.config.traffic import GuardConfig
from raymle.serve.history import Wanted

FEWEST_ERRORS = 3
"""One bad request is not a bad model."""
SLOWER_S = 0.005
"""Fewer seconds than these are nobody's concern."""
KEPT = 500
"""Latest durations that are looked at."""
DEVIATIONS = 0.1
"""How far two numbers may be from each other to be called equal, in the target's standard deviations."""


def goes_to_challenger(key: str, challenger: Wanted) -> bool:
    """Whether a request is the challenger's: the same key always is while the version and its share stay.

    When the share grows, keys only move from the champion to the challenger.
    """
    digest = blake2b(key.encode(errors="replace"), digest_size=8, salt=str(challenger.number).encode()).digest()
    return int.from_bytes(digest) < challenger.share * 2**64


@dataclass
class Side:
    """What one of the two did."""

    requests: int = 0
    errors: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def p95(self) -> float:
        """Return the 95th percentile of the latest durations, in seconds."""
        return float(np.quantile(self.seconds, 0.95)) if self.seconds else 0.0


@dataclass
class Evidence:
    """What one replica saw of a challenger beside the champion."""

    champion: Side = field(default_factory=Side)
    challenger: Side = field(default_factory=Side)
    compared: int = 0
    """Rows that both answered."""
    disagreed: int = 0


def fault(seen: Evidence, guard: GuardConfig) -> str:
    """Say why a challenger has to go; empty while it may stay."""
    return _errors(seen, guard) or _latency(seen, guard) or _disagreement(seen, guard)


def _errors(seen: Evidence, guard: GuardConfig) -> str:
    errors, requests = seen.challenger.errors, seen.challenger.requests
    if guard.errors is None or errors < FEWEST_ERRORS or errors <= guard.errors * max(requests, guard.min_requests):
        return ""
    return f"it failed {errors} of {requests} requests, over serve.guard.errors {guard.errors:g}"


def _latency(seen: Evidence, guard: GuardConfig) -> str:
    fewest = min(seen.champion.requests, seen.challenger.requests)
    if guard.latency is None or fewest < guard.min_requests:
        return ""
    mine, theirs = seen.challenger.p95(), seen.champion.p95()
    if mine <= guard.latency * theirs or mine - theirs < SLOWER_S:
        return ""
    times = mine / max(theirs, 1e-6)
    return (
        f"it took {mine * 1000:.1f} ms (95th percentile), {times:.1f} times the champion's {theirs * 1000:.1f} ms, "
        f"over serve.guard.latency {guard.latency:g}"
    )


def _disagreement(seen: Evidence, guard: GuardConfig) -> str:
    if guard.disagreement is None or seen.compared < guard.min_requests:
        return ""
    share = seen.disagreed / seen.compared
    if share <= guard.disagreement:
        return ""
    return (
        f"it answered {share:.0%} of {seen.compared:,} rows otherwise than the champion, "
        f"over serve.guard.disagreement {guard.disagreement:g}"
    )


def differing(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64], deviation: float) -> int:
    """Return in how many rows two models differ: in the class ``[n, classes]``, or in the number ``[n]``."""
    if ours.ndim == 2:
        return int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum())
    return int((np.abs(ours - theirs) > DEVIATIONS * deviation).sum())

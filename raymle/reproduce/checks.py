"""What was the same and what was not, each as one check; pure."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

from raymle.records import Check, Environment, Metrics, Provenance, Splits, Trained

NAMES = (
    "data", "source", "splits", "environment", "machine", "seed and threads", "training", "metrics", "weights",
)  # fmt: skip
"""All checks, in their order."""
GOOD = {"same", "kept", "done", "close"}
TOLD = {"environment", "machine", "seed and threads"}
"""Checks that decide nothing by themselves: they say how much may be expected."""
KIND = ("raymle", "Python", "torch", "numpy", "lightgbm", "pyarrow")
"""Packages that can change a result; where one differs the environment is of another kind."""
MACHINE = ("processor", "architecture")
EXACT, ROUGH = 1e-6, 1e-2
"""Tolerances of metrics: for the same kind of environment and machine, and for another."""
MOST = 5


def passes(check: Check) -> bool:
    """Whether a check speaks for PASS."""
    return check.name in TOLD or check.verdict in GOOD


def complete(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Return every check, those that were not come to as not run."""
    found = {check.name: check for check in checks}
    return tuple(found.get(name, Check(name=name, verdict="not run")) for name in NAMES)


def verdict(checks: Iterable[Check]) -> Literal["PASS", "FAIL"]:
    """Return PASS when every check that decides speaks for it, and was run."""
    told = all(passes(check) and check.verdict != "not run" for check in checks)
    return "PASS" if told else "FAIL"


def data(then: str, now: str, *, name: str) -> Check:
    """Compare the fingerprint of the source with the recorded one."""
    if then == now:
        return Check(name="data", verdict="same", detail=f"{name}, sha256 {now[:12]}")
    return Check(name="data", verdict="differs", detail=f"{name} has changed: sha256 {now[:12]}, recorded {then[:12]}")


def splits(then: Provenance, now: Splits) -> Check:
    """Compare who is on which side."""
    differing = [side for side, digest in then.splits.items() if now.fingerprints.get(side) != digest]
    if differing:
        return Check(name="splits", verdict="differs", detail=f"other rows in {', '.join(differing)}")
    counts = ", ".join(f"{count:,} {side}" for side, count in now.rows.items())
    return Check(name="splits", verdict="same", detail=f"prepared again: {counts}")


def environment(then: Environment, now: Environment) -> Check:
    """Compare raymle's code and the packages; the first of those that differ are named."""
    names = [*KIND, *sorted({*then.packages, *now.packages} - {*KIND}, key=str.lower)]
    told = [
        f"{name} {then.packages.get(name, 'absent')} -> {now.packages.get(name, 'absent')}"
        for name in names
        if then.packages.get(name) != now.packages.get(name)
    ]
    is_ours_new = bool(then.raymle and then.raymle != now.raymle)
    if is_ours_new:
        told.insert(0, f"raymle's own code {then.raymle[:12]} -> {now.raymle[:12]}")
    if not told:
        return Check(name="environment", verdict="same", detail=f"{len(now.packages):,} packages")
    is_kind = not is_ours_new and all(then.packages.get(name) == now.packages.get(name) for name in KIND)
    return Check(name="environment", verdict="same kind" if is_kind else "differs", detail=some(told))


def machine(then: Environment, now: Environment) -> Check:
    """Compare the processors."""
    theirs, ours = (", ".join(each.machine.get(name, "unknown") for name in MACHINE) for each in (then, now))
    if theirs == ours:
        return Check(name="machine", verdict="same", detail=ours)
    return Check(name="machine", verdict="differs", detail=f"{theirs} then, {ours} now")


def same_kind(environment: Check, machine: Check) -> bool:
    """Whether the same numbers may be expected."""
    return environment.verdict != "differs" and machine.verdict == "same"


def seed_and_threads(trained: Trained, seed: int, cpus: int) -> Check:
    """Say what the training is repeated with."""
    fewer = f"; this machine has {cpus}, so it takes longer" if cpus < trained.threads else ""
    detail = f"seed {seed}, {trained.threads} thread(s), {trained.workers} worker(s){fewer}"
    return Check(name="seed and threads", verdict="same", detail=detail)


def metrics(then: Metrics, now: Metrics, tolerance: float) -> Check:
    """Hold every recorded metric against the new one, and name the largest difference."""
    gone = [name for name in then if name not in now]
    if gone:
        return Check(name="metrics", verdict="differs", detail=f"{some(gone)} not measured any more")
    if not then:
        return Check(name="metrics", verdict="same", detail="none was recorded")
    apart = [name for name in then if not _close(then[name], now[name], tolerance)]
    most = max(apart or then, key=lambda name: _distance(then[name], now[name]))
    largest = f"largest difference {_distance(then[most], now[most]):.3g} in {most}, tolerance {tolerance:g}"
    if apart:
        values = f"{most} {then[most]:.6g} then, {now[most]:.6g} now"
        return Check(name="metrics", verdict="differs", detail=f"{len(apart)} of {len(then)}: {values}; {largest}")
    return Check(name="metrics", verdict="same", detail=f"{len(then)}, {largest}")


def weights(apart: float | None, *, free: str) -> Check:
    """Say how far the weights are apart.

    Args:
        apart: Largest absolute difference; None when every bit is the same, infinite for another shape.
        free: Why they need not be equal; empty when they must be.
    """
    if apart is None:
        return Check(name="weights", verdict="same", detail="bitwise equal")
    told = f"differ by at most {apart:.3g}" if math.isfinite(apart) else "are of another shape"
    if free:
        return Check(name="weights", verdict="close", detail=f"{told}; with {free} they need not be equal")
    return Check(name="weights", verdict="differs", detail=told)


def why_free(trained: Trained, environment: Check, machine: Check, *, gpus: float) -> str:
    """Say why the weights need not be equal to the last bit; empty when they must be."""
    reasons = {
        "several workers": trained.workers > 1,
        "a GPU": gpus > 0,
        "another raymle or other packages": environment.verdict == "differs",
        "another machine": machine.verdict != "same",
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def some(told: Sequence[str]) -> str:
    """Join the first few and count the rest."""
    more = f" and {len(told) - MOST} more" if len(told) > MOST else ""
    return ", ".join(told[:MOST]) + more


def _close(then: float, now: float, tolerance: float) -> bool:
    both_absent = math.isnan(then) and math.isnan(now)
    return both_absent or math.isclose(then, now, rel_tol=tolerance, abs_tol=tolerance)


def _distance(then: float, now: float) -> float:
    """Return the difference, of large values relative to them; what is no number is far from any."""
    if math.isnan(then) or math.isnan(now):
        return 0.0 if math.isnan(then) and math.isnan(now) else math.inf
    return 0.0 if then == now else abs(then - now) / max(1.0, abs(then))

"""What a process takes: the milliseconds of a call, its peak memory, the size of a folder."""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from raymle.records import Record

MEGABYTE = 1e6
FEWEST, MOST = 20, 5000
"""Calls that are made at least and at most."""
UNDISTURBED = 0.9
"""Processor seconds for each second of a call that had nobody in its way."""


class Resources(Record):
    """What one bundle takes when it predicts, in a process of its own."""

    latency_ms: float
    """Median of predicting one row, after the first calls."""
    latency_p95_ms: float
    """95th percentile of the same."""
    batch_latency_ms: float
    """Median of predicting 64 rows together."""
    memory_mb: float
    """Most memory that the process ever held, its packages included."""
    size_mb: float
    """The bundle on disk."""
    threads: int
    share: float
    """Share of the calls that had a processor all the time: well below 1, others were at work on this machine."""


class Timing(NamedTuple):
    """How long a call takes, over many of them."""

    median_ms: float
    p95_ms: float
    share: float
    """Share of the calls that had a processor all the time."""


class Call(NamedTuple):
    """One call: seconds by the clock, and those of a processor."""

    seconds: float
    worked: float


def timed(call: Callable[[int], object], *, seconds: float) -> Timing:
    """Call for about so many seconds, and at least 20 times, after a tenth of that which does not count.

    On a machine that others use too a call may wait for a processor; such calls do not count, for they would say how
    busy the others are, unless hardly any call went without.

    Args:
        call: Takes the number of the call.
        seconds: How long to go on.
    """
    _calls(call, seconds / 10, fewest=3)
    found = _calls(call, seconds, fewest=FEWEST)
    quiet = [each for each in found if each.worked >= UNDISTURBED * each.seconds]
    counted = quiet if len(quiet) >= FEWEST else found
    median, high = np.percentile([each.seconds for each in counted], [50, 95]) * 1e3
    return Timing(float(median), float(high), len(quiet) / len(found))


def _calls(call: Callable[[int], object], seconds: float, *, fewest: int) -> list[Call]:
    end = time.perf_counter() + seconds
    found: list[Call] = []
    while len(found) < fewest or (len(found) < MOST and time.perf_counter() < end):
        started, worked = time.perf_counter(), time.process_time()
        call(len(found))
        found.append(Call(time.perf_counter() - started, time.process_time() - worked))
    return found


def peak_memory_mb() -> float:
    """Return the most memory that this process ever held."""
    try:  # what getrusage tells of a fresh process includes its parent's peak
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / MEGABYTE
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def size_mb(folder: Path) -> float:
    """Return the size of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MEGABYTE

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
BLOCKS, FEWEST, MOST = 10, 2, 500
"""Blocks of calls, and how many calls each has."""


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
    """Processor seconds for each second of measuring: well below 1, others were at work on this machine."""


class Timing(NamedTuple):
    """How long a call takes, over many of them."""

    median_ms: float
    p95_ms: float
    share: float
    """Processor seconds for each second."""


class Block(NamedTuple):
    """Calls that were made one after another."""

    seconds: list[float]
    share: float


def timed(call: Callable[[int], object], *, seconds: float) -> Timing:
    """Call for about so many seconds, after a tenth of them that does not count.

    The calls are made in blocks, and the half of the blocks counts in which this process had a processor most: on a
    machine that others use too, the rest would say how busy they are. A slow call is still made 20 times.

    Args:
        call: Takes the number of the call.
        seconds: How long to go on.
    """
    _block(call, seconds / 10)
    blocks = [_block(call, seconds / BLOCKS) for _ in range(BLOCKS)]
    quiet = sorted(blocks, key=lambda block: block.share)[BLOCKS // 2 :]
    median, high = np.percentile([each for block in quiet for each in block.seconds], [50, 95]) * 1e3
    return Timing(float(median), float(high), min(block.share for block in quiet))


def _block(call: Callable[[int], object], seconds: float) -> Block:
    began, worked = time.perf_counter(), time.process_time()
    found: list[float] = []
    while len(found) < FEWEST or (len(found) < MOST and time.perf_counter() < began + seconds):
        started = time.perf_counter()
        call(len(found))
        found.append(time.perf_counter() - started)
    return Block(found, (time.process_time() - worked) / (time.perf_counter() - began))


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

"""Counters, histograms and gauges that the processes of a node count in files, and their sum as Prometheus reads it.

Each process holds one numbered slot of a folder for as long as it lives, by a lock that the system drops with it:

    0.lock   counter_0.db   histogram_0.db   gauge_livesum_0.db   gauge_livemax_0.db

The files are those of prometheus_client's multiprocess mode, but opened by themselves: that mode is chosen by an
environment variable when prometheus_client is first imported, which may be long before us. Whoever takes the slot
of a dead process counts on where it ended, so nothing that was counted is lost, and there are never more
files than processes that lived at one time. Values are in the page cache at once: kill -9 loses none.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import final

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from raymle.serve.families import MODEL, Family

KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemax")
BYTES = 1 << 20


@final
class Cell:
    """One number of this process in its file."""

    __slots__ = ("_file", "_key", "_value")

    def __init__(self, file: MmapedDict, key: str) -> None:
        self._file, self._key = file, key
        self._value: float = file.read_value(key)[0]

    def add(self, amount: float = 1) -> None:
        """Count on."""
        self._value += amount
        self._file.write_value(self._key, self._value, 0.0)

    def set(self, value: float) -> None:
        """Say what it is now."""
        self._value = value
        self._file.write_value(self._key, value, 0.0)


@final
class Histogram:
    """Counts between edges, and the sum of what was counted."""

    __slots__ = ("_cells", "_edges", "_ends", "_sum")

    def __init__(self, edges: Sequence[float], cells: Sequence[Cell], total: Cell) -> None:
        self._edges, self._ends, self._cells, self._sum = edges, np.asarray(edges), cells, total

    def add(self, value: float) -> None:
        """Count one value."""
        self._cells[bisect_left(self._edges, value)].add()
        self._sum.add(value)

    def add_all(self, values: NDArray[np.float64]) -> None:
        """Count finite values ``[n]``."""
        places = np.bincount(self._ends.searchsorted(values))
        for place in np.flatnonzero(places).tolist():
            self._cells[place].add(int(places[place]))
        self._sum.add(float(values.sum()))


@final
class Series:
    """The series of this process; not for two threads at one time."""

    def __init__(self, folder: Path, model: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._model = model
        slot, self._lock = _take(folder)
        self._files = {kind: MmapedDict(str(_begun(folder / f"{kind}_{slot}.db"))) for kind in KINDS}
        self._cells: dict[str, Cell] = {}

    def cell(self, family: Family, *labels: str) -> Cell:
        """Return a counter or gauge with those values of the family's labels; it starts at 0."""
        return self._cell(family, "", labels)

    def histogram(self, family: Family, edges: Sequence[float], *labels: str) -> Histogram:
        """Return a histogram whose buckets end at the edges, with one more for what is beyond."""
        ends = [floatToGoString(edge) for edge in (*edges, float("inf"))]
        cells = [self._cell(family, "_bucket", labels, le=end) for end in ends]
        return Histogram(edges, cells, self._cell(family, "_sum", labels))

    def _cell(self, family: Family, part: str, labels: Iterable[str], **more: str) -> Cell:
        values = {"model": self._model, **dict(zip(family.labels, labels, strict=True)), **more}
        name = family.name.removesuffix("_total")
        key = mmap_key(name, family.name + part, list(values), list(values.values()), family.meaning)
        if key not in self._cells:
            self._cells[key] = Cell(self._files[family.kind], key)
        return self._cells[key]

    def close(self) -> None:
        """Let go of the slot: what was counted stays, the gauges go."""
        for file in self._files.values():
            file.close()
        self._lock.release()


def _take(folder: Path) -> tuple[int, FileLock]:
    """Take the first slot that nobody holds."""
    slot, lock = next((slot, lock) for slot in count() if (lock := _locked(folder / f"{slot}.lock")))
    _drop_gauges(folder, str(slot))
    return slot, lock


def _begun(path: Path) -> Path:
    """Give a new file all the disk that it will need: a disk that is full later would kill whoever writes a map."""
    if not path.exists():
        path.write_bytes(bytes(BYTES))
    return path


def _locked(path: Path) -> FileLock | None:
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def _drop_gauges(folder: Path, slot: str) -> None:
    for kind in KINDS:
        if kind.startswith("gauge"):
            (folder / f"{kind}_{slot}.db").unlink(missing_ok=True)


@final
class Node(Collector):
    """All processes of a folder, the dead ones' counters too, as one."""

    def __init__(self, folder: Path, node: str) -> None:
        self._folder, self._node = folder, node

    def collect(self) -> list[Metric]:
        """Return each metric, summed over the processes and labelled with the node."""
        _bury(self._folder)
        files = [str(path) for path in sorted(self._folder.glob("*.db")) if _is_begun(path)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)
        return [self._labelled(metric) for metric in sorted(merged, key=lambda metric: metric.name)]

    def _labelled(self, metric: Metric) -> Metric:
        is_model = metric.name == MODEL.name  # one that was unloaded is 0 in the file, and not there
        metric.samples = [
            sample._replace(labels={**sample.labels, "node": self._node})
            for sample in metric.samples
            if sample.value or not is_model
        ]
        return metric

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return bytes(generate_latest(self))

    def values(self, label: str) -> set[str]:
        """Return every value that a label has."""
        return {
            sample.labels[label] for metric in self.collect() for sample in metric.samples if label in sample.labels
        }


def _bury(folder: Path) -> None:
    """Take away the gauges of processes that have died: the lock of their slot is free."""
    for path in folder.glob("*.lock"):
        lock = _locked(path)
        if lock:
            _drop_gauges(folder, path.stem)
            lock.release()


def _is_begun(path: Path) -> bool:
    """Whether there is something in a file that another process may be about to write first, or to take away."""
    with suppress(FileNotFoundError):
        return path.stat().st_size > 0
    return False

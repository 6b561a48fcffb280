"""What a replica counts, for Prometheus.

The replicas of a node share a folder, and any of them answers ``GET /metrics`` for all: the text is the sum over every
process that counted in the folder since it was made, those that died included; gauges are of the living. A new
folder starts from zero. Other nodes have folders of their own, and Prometheus asks each; ``node`` is a label,
so that the answers stay apart also where one address leads to several nodes.
"""

import platform
import threading
from pathlib import Path
from typing import Self, final

import pyarrow as pa
from numpy import float64
from numpy.typing import NDArray
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from raymle.data.transform import Transform
from raymle.records import Schema
from raymle.serve import families, inputs, outputs
from raymle.serve.families import BY_STATUS, ERRORS, MOST_VERSIONS, OTHER, STATUSES, Event
from raymle.serve.series import Cell, Node, Series

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


@final
class Metrics:
    """The counts of one replica, and the text for all of its node; safe for threads.

    Args:
        folder: On a local disk, shared by the replicas of the node.
        model: The name that is served.
        schema: Of the version that is served.
        transform: Of the version that is served: what its inputs are held against.
    """

    def __init__(self, folder: Path, model: str, schema: Schema, transform: Transform) -> None:
        self._node = Node(folder, platform.node())
        self._series = Series(folder, model)
        self._default = schema, transform
        self._named = self._node.values("version") - {OTHER}
        self._versions: dict[str, _Version] = {}
        self._loaded: dict[str, Cell] = {}
        self._lock = threading.Lock()
        cell = self._series.cell
        self._errors = {kind: cell(families.ERRORS_SEEN, kind) for kind in ERRORS}
        self._queue, self._in_flight = cell(families.QUEUE_ROWS), cell(families.IN_FLIGHT)
        self._replicas = cell(families.REPLICAS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop counting: what was counted stays in the sum, the gauges go."""
        self._series.close()

    def loaded(
        self, version: str, runtime: str, *, schema: Schema | None = None, transform: Transform | None = None
    ) -> None:
        """Say that a version can answer now, and what its rows are held against when it is not the first one's."""
        schema, transform = schema or self._default[0], transform or self._default[1]
        with self._lock:
            self._forget(version)
            self._versions[version] = _Version(self._series, self._label(version), schema, transform)
            self._loaded[version] = self._series.cell(families.MODEL, version, schema.task, runtime)
            self._loaded[version].set(1)
            self._replicas.set(1)

    def unloaded(self, version: str) -> None:
        """Say that a version is no longer in memory."""
        with self._lock:
            self._forget(version)
            self._replicas.set(len(self._loaded) > 0)

    def request(self, version: str, status: int, seconds: float, rows: int, *, error: str = "") -> None:
        """Count one request to /predict.

        Args:
            version: Who answered.
            status: HTTP's.
            seconds: From its arrival to its answer.
            rows: How many it asked for; 0 when nobody could tell.
            error: The type of the error in the answer; by the status when left out.
        """
        with self._lock:
            counted = self._of(version)
            counted.answers[status if status in counted.answers else OTHER].add()
            counted.seconds.add(seconds)
            counted.rows.add(rows)
            if status >= 400:
                kind = error or BY_STATUS.get(status, OTHER)
                self._errors[kind if kind in self._errors else OTHER].add()

    def batch(self, version: str, rows: int, seconds: float) -> None:
        """Count one prediction of so many rows."""
        with self._lock:
            counted = self._of(version)
            counted.batch_rows.add(rows)
            counted.batch_seconds.add(seconds)

    def queued(self, rows: int) -> None:
        """Say how many rows wait for a batch now."""
        with self._lock:
            self._queue.set(rows)

    def running(self, requests: int) -> None:
        """Say how many requests are being answered now."""
        with self._lock:
            self._in_flight.set(requests)

    def served(self, version: str, table: pa.Table, predictions: NDArray[float64]) -> None:
        """Count what came in and what was answered: conformed features, and ``[n, classes]`` or ``[n]``."""
        with self._lock:
            self._of(version).count(table, predictions)

    def challenger(self, event: Event, version: str) -> None:
        """Count one event of a challenger's."""
        with self._lock:
            self._series.cell(families.CHALLENGER, self._label(version), event).add()

    def text(self) -> bytes:
        """Return the metrics of this node; it reads files, so call it from a thread."""
        return self._node.text()

    def _forget(self, version: str) -> None:
        if version in self._loaded:
            self._loaded.pop(version).set(0)
            self._versions.pop(version)

    def _of(self, version: str) -> "_Version":
        found = self._versions.get(version) or self._versions.get(label := self._label(version))
        if not found:
            found = self._versions[label] = _Version(self._series, label, *self._default)
        return found

    def _label(self, version: str) -> str:
        """Return the version, or ``other`` for all after the first 20 of the folder."""
        if version not in self._named and len(self._named) >= MOST_VERSIONS:
            return OTHER
        self._named.add(version)
        return version


@final
class _Version:
    """The series of one version, looked up once; all are there from 0 on, or Prometheus would miss their first step."""

    def __init__(self, series: Series, label: str, schema: Schema, transform: Transform) -> None:
        self._seen = inputs.seen(schema, transform)
        self._positive = schema.classes.index(schema.positive) if schema.positive in schema.classes else None
        self.answers = {status: series.cell(families.REQUESTS, label, str(status)) for status in (*STATUSES, OTHER)}
        self.rows = series.cell(families.REQUEST_ROWS, label)
        self.seconds = series.histogram(families.REQUEST_SECONDS, families.SECONDS, label)
        self.batch_rows = series.histogram(families.BATCH_ROWS, families.ROWS, label)
        self.batch_seconds = series.histogram(families.BATCH_SECONDS, families.SECONDS, label)
        self._classes = [series.cell(families.CLASSES, label, name) for name in outputs.class_names(schema)]
        self._prediction = series.histogram(families.PREDICTION, outputs.edges(schema, transform), label)
        self._input_rows = series.cell(families.INPUT_ROWS)
        self._missing = {name: series.cell(families.MISSING, name) for name in self._seen.columns}
        self._empty = {name: series.cell(families.EMPTY, name) for name in self._seen.texts}
        self._unseen = {name: series.cell(families.UNSEEN, name) for name in self._seen.words}
        self._outlying = {name: series.cell(families.OUTLYING, name) for name in self._seen.numbers}

    def count(self, table: pa.Table, predictions: NDArray[float64]) -> None:
        """Count one batch."""
        columns = dict(zip(table.column_names, table.columns, strict=True))
        self._input_rows.add(table.num_rows)
        _add(self._missing, inputs.missing(columns, self._seen))
        _add(self._empty, inputs.empty(columns, self._seen))
        _add(self._unseen, inputs.unseen(columns, self._seen))
        _add(self._outlying, inputs.outlying(columns, self._seen))
        answers = outputs.finite(predictions)
        self._prediction.add_all(outputs.values(answers, self._positive))
        if self._classes:
            for cell, number in zip(self._classes, outputs.class_counts(answers, len(self._classes)), strict=True):
                if number:
                    cell.add(number)


def _add(cells: dict[str, Cell], counts: dict[str, int]) -> None:
    for name, number in counts.items():
        cells[name].add(number)

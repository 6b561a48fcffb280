"""What does a replica's counting cost a request and a batch, against prometheus_client used by hand?"""

import os
import statistics
import sys
import tempfile
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from measured import write
from prometheus_client import CollectorRegistry, Counter, Histogram, values

from raymle.data.transform import Category, Number, Transform
from raymle.records import Column, Schema
from raymle.serve.metrics import Metrics

REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 15
NUMBERS, WORDS = [f"n{place}" for place in range(5)], [f"c{place}" for place in range(4)]
KNOWN = ("red", "green", "blue", "a longer category")
CLASSES = ("no", "yes")
SCHEMA = Schema(
    columns=(
        *(Column(name=name, type="number", role="feature") for name in NUMBERS),
        *(Column(name=name, type="category", role="feature") for name in WORDS),
    ),
    target="churned", task="classification", classes=CLASSES, positive="yes",
)  # fmt: skip
TRANSFORM = Transform(
    numbers=tuple(Number(column=name, mean=0, std=1, fill=0) for name in NUMBERS),
    categories=tuple(Category(column=name, values=KNOWN, missing=0) for name in WORDS),
    target_column="churned",
    classes=CLASSES,
)


class ByHand:
    """The guides' way: ``labels()`` at each call, row by row."""

    def __init__(self, folder: str) -> None:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        values.ValueClass = values.MultiProcessValue()  # what the variable does when it is there before the import
        registry = CollectorRegistry()
        self.requests = Counter("requests", "-", ["version", "status"], registry=registry)
        self.seconds = Histogram("seconds", "-", ["version"], registry=registry)
        self.missing = Counter("missing", "-", ["column"], registry=registry)
        self.strange = Counter("strange", "-", ["column"], registry=registry)
        self.classes = Counter("predictions", "-", ["version", "class"], registry=registry)
        self.probability = Histogram("probability", "-", ["version"], registry=registry)

    def request(self, version: str, status: int, seconds: float, _: int) -> None:
        self.requests.labels(version, str(status)).inc()
        self.seconds.labels(version).observe(seconds)

    def served(self, version: str, table: pa.Table, predictions: np.ndarray) -> None:
        for row in table.to_pylist():
            for name, value in row.items():
                if value is None:
                    self.missing.labels(name).inc()
                elif value not in KNOWN if name in WORDS else abs(value) > 6:
                    self.strange.labels(name).inc()
        for row in predictions:
            self.classes.labels(version, CLASSES[int(row.argmax())]).inc()
            self.probability.labels(version).observe(row[1])


def table(rows: int, *, strange: bool) -> pa.Table:
    draw = np.random.default_rng(0)
    words = ["red", "strange"] if strange else KNOWN
    nulls = 0.2 if strange else 0.0
    numbers = {name: pa.array(draw.normal(size=rows), mask=draw.random(rows) < nulls) for name in NUMBERS}
    return pa.table(
        numbers | {name: pa.array(draw.choice(words, rows).tolist(), mask=draw.random(rows) < nulls) for name in WORDS}
    )


def microseconds(call: Callable[[], object], times: int) -> float:
    return statistics.median(timeit.repeat(call, number=times, repeat=REPEATS)) / times * 1e6


def measure(folder: Path) -> tuple[dict[str, list[float]], float]:
    """Return microseconds of ours and of the peer for each thing, and milliseconds of the text."""
    ours = Metrics(folder / "ours", "churn", SCHEMA, TRANSFORM)
    both = (ours, ByHand(str(folder)))
    ours.loaded("7", "onnx")
    found = {"a request": [microseconds(partial(each.request, "7", 200, 0.003, 1), 1000) for each in both]}
    for rows in (1, 64, 1000):
        for strange in (False, True):
            what = f"a batch of {rows:,}{', half of its categories unseen, a fifth null' if strange else ''}"
            given = "7", table(rows, strange=strange), np.random.default_rng(1).dirichlet([1, 1], rows)
            found[what] = [microseconds(partial(each.served, *given), 20) for each in both]
    return found, microseconds(ours.text, 20) / 1000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found, text = measure(Path(folder))
    write("serve_metrics", [
        "# What counting costs a replica",
        "",
        "5 numbers, 4 categories, two classes; the hand-written peer uses prometheus_client's multiprocess mode, calls",
        f"`labels()` each time and goes row by row. It counts less. Median of {REPEATS}, microseconds:",
        "",
        "| | raymle | by hand | ratio |",
        "|--|--|--|--|",
        *(f"| {what} | {a:,.1f} | {b:,.1f} | {a / b:.2f} |" for what, (a, b) in found.items()),
        "",
        f"The text of the node, of one process and one version: {text:.1f} ms.",
    ])  # fmt: skip


if __name__ == "__main__":
    main()

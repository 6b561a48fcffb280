"""Metrics of a small model; as a program, one replica that counts ten requests, says so, and waits to be ended."""

import sys
from pathlib import Path

import numpy as np
import prometheus_client
import pyarrow as pa
import served
from prometheus_client.parser import text_string_to_metric_families

from raymle.data.transform import Category, Number, Transform
from raymle.serve.metrics import Metrics

SCHEMA = served.SCHEMA.model_copy(update={"positive": "yes"})
TRANSFORM = Transform(
    numbers=(
        Number(column="amount", mean=10.0, std=2.0, fill=10.0),
        Number(column="new", mean=0.001, std=0.03, fill=0.0),
        Number(column="at", part="day", mean=20_000.0, std=10.0, fill=20_000.0),
    ),
    categories=(Category(column="plan", values=("basic", "pro"), missing=0),),
    target_column="churned",
    classes=("no", "yes"),
)


def rows(amount=(10.0,), plan=("basic",), new=None):
    """Make conformed features; what is not given is ordinary."""
    number = len(amount)
    return pa.table({
        "amount": pa.array(amount, pa.float64()),
        "plan": pa.array(plan if len(plan) == number else plan * number, pa.string()),
        "new": pa.array([True] * number if new is None else new, pa.bool_()),
        "at": pa.nulls(number, pa.timestamp("us", "UTC")),
    })  # fmt: skip


def samples(text: bytes):
    """Return the value of each series that Prometheus would read, by its name and labels but for the constant two."""
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()) if name not in {"model", "node"})):
            sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }  # fmt: skip


def main(folder: str) -> None:
    prometheus_client.Counter("another", "Somebody counted first, in memory").inc()
    metrics = Metrics(Path(folder), "churn", SCHEMA, TRANSFORM)
    metrics.loaded("7", "onnx")
    for _ in range(10):
        metrics.request("7", 200, 0.02, 1)
    metrics.served("7", rows(), np.array([[0.25, 0.75]]))
    metrics.queued(5)
    sys.stdout.write("counted\n")
    sys.stdout.flush()
    sys.stdin.read()
    metrics.close()


if __name__ == "__main__":
    main(sys.argv[1])

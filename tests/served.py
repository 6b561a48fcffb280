"""The app behind a real uvicorn, in a process of its own whose memory can be looked at."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from raymle.data.images import to_pixels
from raymle.data.transform import Category, Number, Transform
from raymle.records import Column, Schema
from raymle.serve.limits import Limits

SCHEMA = Schema(
    columns=(
        Column(name="id", type="category", role="key"),
        Column(name="amount", type="number", role="feature"),
        Column(name="plan", type="category", role="feature"),
        Column(name="new", type="boolean", role="feature"),
        Column(name="at", type="timestamp", role="feature"),
        Column(name="churned", type="category", role="target"),
    ),
    target="churned",
    task="classification",
    classes=("no", "yes"),
)
NUMBERS = SCHEMA.model_copy(update={"task": "regression", "classes": ()})
PHOTOS = SCHEMA.model_copy(
    update={
        "columns": (
            Column(name="photo", type="image", role="feature", shape=(1, 8, 8)),
            Column(name="churned", type="category", role="target"),
        )
    }
)
TRANSFORM = Transform(
    numbers=(
        Number(column="amount", mean=20.0, std=5.0, fill=20.0),
        Number(column="new", mean=0.5, std=0.5, fill=0.0),
        Number(column="at", part="day", mean=20_000.0, std=10.0, fill=20_000.0),
    ),
    categories=(Category(column="plan", values=("basic", "pro", "<b>{{7*7}}</b>"), missing=0),),
    target_column="churned",
    classes=("no", "yes"),
)
GOOD = {"amount": 1.5, "plan": "basic", "new": True, "at": "2026-01-31T12:00:00Z"}
SMALL = Limits(body=2**20, read=2**23, rows=1000, seconds=1, deadline=2)
SLOW_PLAN = "slow"
"""A row of that plan takes longer than anybody waits."""


class Model:
    """Says yes as surely as the amount is a percentage; takes for ever over one plan."""

    def __init__(self, schema: Schema) -> None:
        self.schema, self.working = schema, 0

    async def predict(self, table, call):
        from raymle.serve.app import Answer

        self.working += 1
        if "photo" in table.column_names:
            light = to_pixels(table["photo"].combine_chunks()).mean(axis=1) / 255
            return Answer(np.column_stack([1 - light, light]), "7")
        try:
            if SLOW_PLAN in table["plan"].to_pylist():
                await asyncio.sleep(600)
        finally:
            self.working -= 1
        yes = np.clip(np.nan_to_num(table["amount"].to_numpy()) / 100, 0, 1)
        return Answer(np.column_stack([1 - yes, yes]) if self.schema.classes else 100 * yes, "7")

    def metrics(self) -> bytes:
        return f"in_flight {self.working}\n".encode()


def app(schema: Schema = SCHEMA, *, tokens: Path | None = None):
    from raymle.serve.admission import Tokens
    from raymle.serve.app import Card, application

    model = Model(schema)
    card = Card(schema, "churn", lambda: "7", None if schema is PHOTOS else TRANSFORM)
    auth = Tokens(tokens) if tokens else None
    return application(model.predict, card, limits=SMALL, auth=auth, metrics=model.metrics)


@contextmanager
def served(log: Path, *options: str):
    """Run a server until the block ends; gives its address and its process."""
    with log.open("wb") as out:
        started = subprocess.Popen(
            [sys.executable, __file__, *options], stdout=subprocess.PIPE, stderr=out, env=os.environ
        )
        try:
            port = started.stdout.readline().decode().strip()
            assert port, log.read_text()
            yield f"http://127.0.0.1:{port}", psutil.Process(started.pid)
        finally:
            started.send_signal(signal.SIGINT)
            started.wait(20)


def ipc(table: pa.Table, **options) -> bytes:
    """Return a table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def main() -> None:
    import socket

    import uvicorn

    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=Path)
    parser.add_argument("--numbers", action="store_true")
    parser.add_argument("--photos", action="store_true")
    asked = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", 0), backlog=200)
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    schema = PHOTOS if asked.photos else NUMBERS if asked.numbers else SCHEMA
    config = uvicorn.Config(app(schema, tokens=asked.tokens), log_level="warning")
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main()

"""A version at work: loaded, warmed up, and found to answer as it did when it was exported."""

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from raymle.config import ServeConfig
from raymle.data import examples
from raymle.errors import RaymleError, WorkError
from raymle.model import Bundle, golden, load
from raymle.records import Schema
from raymle.serve.batching import Batcher, Predictions
from raymle.serve.history import Model
from raymle.serve.metrics import Metrics
from raymle.serve.service import place_of
from raymle.store import Store

SHORT_S = 0.005
"""A batch that takes less runs in the event loop: the way to another thread and back costs more than it frees."""
ROUNDS = 3


class Slot(NamedTuple):
    """A version that answers."""

    model: Model
    bundle: Bundle
    predict: Batcher


class Opening(NamedTuple):
    """What is opened, and how."""

    model: Model
    store: Store | None
    """The storage that the model is in, if it is in one."""
    config: ServeConfig
    metrics: Metrics
    like: Schema | None
    """What is served already; another question is refused."""
    apart: bool
    """Whether it predicts in a thread of its own, because nobody knows yet how it behaves."""


def within(seconds: float, opening: Opening) -> Slot:
    """Open a version, and give up on one that takes too long.

    Raises:
        WorkError: it raised, took over ``seconds``, asks for other columns than ``like``, or answers otherwise than
            when it was exported.
    """
    outcome: queue.SimpleQueue[Slot | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            outcome.put(opened(opening))
        except Exception as error:  # noqa: BLE001  the user's own network may raise anything
            outcome.put(error)

    version = f"version {opening.model.version}"
    threading.Thread(target=work, daemon=True, name=f"opens {version}").start()
    try:
        found = outcome.get(timeout=seconds)
    except queue.Empty:
        raise WorkError(f"{version} was not here and loaded within {seconds:g} s (serve.load_timeout_s)") from None
    if isinstance(found, RaymleError):
        raise found
    if isinstance(found, Exception):
        raise WorkError(f"{version} failed: {type(found).__name__}: {found}") from found
    return found


def opened(opening: Opening) -> Slot:
    """Fetch and load a version, hold it against the served columns and its golden rows, and warm it up."""
    version, config = opening.model.version, opening.config
    bundle = load(place_of(opening.model, opening.store), threads=max(1, int(config.resources.cpu)))
    if opening.like is not None:
        _check_successor(opening.like, bundle, version)
    golden.check(bundle)
    rows = examples.rows(bundle.schema, bundle.transform, config.batch.max_size)
    if not np.isfinite(bundle.predict(rows)).all():
        raise WorkError(f"version {version} does not predict numbers for rows such as it was trained on")
    is_short = min(_seconds(bundle, rows) for _ in range(ROUNDS)) < SHORT_S
    batcher = Batcher(
        partial(_counted, bundle, version, opening.metrics),
        rows=config.batch.max_size,
        wait_s=config.batch.wait_ms / 1000,
        pool=None if is_short and not opening.apart else ThreadPoolExecutor(1, f"predicts {version}"),
    )
    return Slot(opening.model, bundle, batcher)


def _check_successor(like: Schema, bundle: Bundle, version: str) -> None:
    """Refuse what answers another question, or has nothing by which to prove that it answers as it should."""
    why = other_question(like, bundle.schema)
    if not why and not golden.has(bundle):
        why = "it has no golden rows, which its native form has"
    if why:
        raise WorkError(f"version {version} cannot take over: {why}")


def other_question(ours: Schema, theirs: Schema) -> str:
    """Say how a model's columns, task or classes differ from those that are served; empty when they are the same."""
    mine, other = ({each.name: each.type for each in schema.features} for schema in (ours, theirs))
    if ours.task != theirs.task or ours.classes != theirs.classes:
        return f"it answers {_answers(theirs)}, and {_answers(ours)} is served"
    for name in sorted(mine.keys() | other.keys()):
        if mine.get(name) != other.get(name):
            return f"its column {name!r} is {other.get(name, 'not there')}, and {mine.get(name, 'none')} is served"
    return ""


def _answers(schema: Schema) -> str:
    return f"one of {', '.join(schema.classes[:10])}" if schema.classes else f"a number, {schema.target}"


def _seconds(bundle: Bundle, rows: pa.Table) -> float:
    started = time.perf_counter()
    bundle.predict_canonical(rows)
    return time.perf_counter() - started


def _counted(bundle: Bundle, version: str, metrics: Metrics, table: pa.Table) -> Predictions:
    """Predict a batch, and count it."""
    started = time.perf_counter()
    predictions = bundle.predict_canonical(table)
    metrics.batch(version, table.num_rows, time.perf_counter() - started)
    metrics.served(version, table, predictions)
    return predictions

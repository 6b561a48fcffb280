"""Requests that wait at the same time are predicted together.

A batch begins as soon as the last one is done: what has come meanwhile is the next. Where predictions are slow, the
first of a batch waits for others, at most ``wait_s`` since it came.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Predictions = npt.NDArray[np.float64]
Predict = Callable[[pa.Table], Predictions]
Outcome = Predictions | Exception


class Waiting(NamedTuple):
    """A request's rows and who waits for their predictions."""

    table: pa.Table
    deadline: float
    since: float
    predictions: "asyncio.Future[Predictions]"


class Batcher:
    """Predict in batches, one at a time.

    Args:
        predict: From a table of features to predictions, one a row.
        rows: Most rows of a batch; one request that has more is a batch of its own.
        wait_s: How long the first of a batch waits for others; in the event loop it never does.
        pool: Where predictions run; None when they are too short for the way there, and run in the event loop.
    """

    def __init__(self, predict: Predict, *, rows: int, wait_s: float = 0.0, pool: ThreadPoolExecutor | None) -> None:
        self._predict, self._rows, self._wait_s, self._pool = predict, rows, wait_s, pool
        self._waiting: deque[Waiting] = deque()
        self._working = False

    @property
    def waiting(self) -> int:
        """Return how many requests wait for their batch."""
        return len(self._waiting)

    async def __call__(self, table: pa.Table, deadline: float) -> Predictions:
        """Return the predictions of a table.

        Raises:
            TimeoutError: the deadline passed before its batch began.
        """
        loop = asyncio.get_running_loop()
        place = Waiting(table, deadline, time.monotonic(), loop.create_future())
        self._waiting.append(place)
        if not self._working:
            self._working = True
            loop.call_soon(self._begin)
        return await place.predictions

    def _begin(self) -> None:
        if self._pool:
            self._task = asyncio.get_running_loop().create_task(self._work())  # kept: a loop holds tasks weakly
            return
        while batch := self._next():
            _settle(batch, _outcomes(batch, self._predict))
        self._working = False

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await self._gather()
            if batch := self._next():
                _settle(batch, await loop.run_in_executor(self._pool, _outcomes, batch, self._predict))
        self._working = False

    async def _gather(self) -> None:
        """Wait until the batch is full, or its first request has waited long enough."""
        until = self._waiting[0].since + self._wait_s
        while self._rows_waiting() < self._rows and time.monotonic() < until:
            await asyncio.sleep(self._wait_s / 4)

    def _rows_waiting(self) -> int:
        return sum(place.table.num_rows for place in self._waiting)

    def _next(self) -> list[Waiting]:
        """Take the next batch; whoever waited too long gets none."""
        batch: list[Waiting] = []
        rows, now = 0, time.monotonic()
        while self._waiting and (not batch or rows + self._waiting[0].table.num_rows <= self._rows):
            place = self._waiting.popleft()
            if place.predictions.done():  # the client has gone
                continue
            if place.deadline < now:
                place.predictions.set_exception(TimeoutError())
                continue
            batch.append(place)
            rows += place.table.num_rows
        return batch


def _outcomes(batch: list[Waiting], predict: Predict) -> list[Outcome]:
    """Predict a batch; when that fails each request alone, so that only the culprit fails."""
    if len(batch) == 1:
        return [_outcome(batch[0].table, predict)]
    together = _outcome(pa.concat_tables([place.table for place in batch]).combine_chunks(), predict)
    if isinstance(together, Exception):
        return [_outcome(place.table, predict) for place in batch]
    return list(np.split(together, np.cumsum([place.table.num_rows for place in batch])[:-1]))


def _outcome(table: pa.Table, predict: Predict) -> Outcome:
    try:
        return predict(table)
    except Exception as error:  # noqa: BLE001  whatever a model raises is told to those who wait
        return error


def _settle(batch: list[Waiting], outcomes: list[Outcome]) -> None:
    for place, outcome in zip(batch, outcomes, strict=True):
        if place.predictions.done():
            continue
        if isinstance(outcome, Exception):
            place.predictions.set_exception(outcome)
        else:
            place.predictions.set_result(outcome)

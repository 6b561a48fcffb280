"""Chunks predicted in this process: one thread reads ahead, several compute, this one writes."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

from raymle.model import Bundle
from raymle.predict import batch, parts, reading
from raymle.predict.chunks import Chunk
from raymle.predict.job import Job
from raymle.predict.parts import Step

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 2
"""Batches that are read before anybody asks for them."""


def predicted(job: Job, bundle: Bundle, chunks: Sequence[Chunk], *, threads: int) -> Iterator[Step]:
    """Predict chunks and write their parts, in order.

    Every thread computes a batch of its own, alone: that is faster than all of them on one batch.
    """
    if _runs_own_code(bundle):
        threads = 1  # it need not be safe among threads
    with _alone(threads) as initializer, ThreadPoolExecutor(threads, initializer=initializer) as pool:
        batches = _ahead(reading.batches(job, chunks))
        outcomes = _in_order(pool, partial(batch.predict, job, bundle), batches, most=threads + 1)
        for chunk, some in groupby(outcomes, key=lambda outcome: outcome.chunk):
            yield from parts.write(job, chunk, some)


def _runs_own_code(bundle: Bundle) -> bool:
    """Whether the user's own functions work on the rows; a network that was exported does without them."""
    exported = (bundle.path / "model.onnx").is_file()
    return bool(bundle.contents.transforms) or (bundle.contents.model.is_users and not exported)


@contextmanager
def _alone(threads: int) -> Iterator[Callable[[], None]]:
    """Give what keeps torch from starting threads of its own for each of these, until the block ends."""
    torch: Any = sys.modules.get("torch")  # a model that needs it has loaded it
    if torch is None or threads == 1:
        yield lambda: None
        return
    before = torch.get_num_threads()
    try:
        yield partial(torch.set_num_threads, 1)
    finally:
        torch.set_num_threads(before)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the same items, which are made a little earlier in a thread of their own."""
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, items, None) for _ in range(AHEAD))
        while (item := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, items, None))
            yield item


def _in_order(pool: Executor, function: Callable[[T], R], items: Iterable[T], *, most: int) -> Iterator[R]:
    """Yield the results in order, with only so many under way, so that memory stays bounded."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()

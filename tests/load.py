"""A load that does not wait: requests at a constant rate, each counted, whatever becomes of it.

A request is due at its turn of the clock, not when the one before is answered, and its seconds count from then: a
server that stands still meets as many requests as one that does not. Connections are kept and used again, as clients do.
"""

import asyncio
import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import aiohttp

JSON = {"Content-Type": "application/json"}
REFUSALS = {429, 503}


class Call(NamedTuple):
    """What is sent at each turn."""

    url: str
    body: bytes
    headers: dict[str, str] = JSON
    timeout_s: float = 30
    retry: bool = False
    """Whether a request that got no answer at all is sent once more."""


class Answer(NamedTuple):
    """What became of one request."""

    start: float
    """When it was due, by ``time.perf_counter``."""
    seconds: float
    """From then to the last byte of the answer."""
    status: int
    """0 when there was no answer."""
    version: str = ""
    """``X-Model-Version``."""
    error: str = ""
    """What the answer said, or why there was none; empty for a 2xx."""
    retry_after: str = ""

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_refused(self) -> bool:
        """Whether the server said properly that it has too much to do."""
        return self.status in REFUSALS and bool(self.retry_after)


class Summary(NamedTuple):
    """What a load came to; seconds are those of good answers, NaN when there was none."""

    requests: int
    good: int
    refused: int
    """429 or 503 with Retry-After."""
    failed: int
    """Neither good nor refused: no answer, another status, or a refusal that does not say when to come again."""
    statuses: dict[int, int]
    versions: dict[str, int]
    """Good answers by the version that gave them."""
    p50_s: float
    p99_s: float
    worst_s: float
    outage_s: float
    """Longest time from a request that was not answered well to the next that was."""


@contextmanager
def running(call: Call, *, rate: float, seconds: float = float("inf")) -> Iterator[list[Answer]]:
    """Send ``rate`` requests a second, from a thread of its own, while the block runs and for at most ``seconds``.

    The list grows as answers come; after the block it is whole, in the order of the requests.
    """
    answers: list[Answer] = []
    ended = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_send(call, rate, seconds, answers, ended)))
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()
        answers.sort()


def flow(call: Call, *, rate: float, seconds: float) -> list[Answer]:
    """Send ``rate`` requests a second for so long; return what became of each, in order."""
    answers: list[Answer] = []
    asyncio.run(_send(call, rate, seconds, answers, threading.Event()))
    return sorted(answers)


async def _send(call: Call, rate: float, seconds: float, answers: list[Answer], ended: threading.Event) -> None:
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=call.timeout_s),
        ) as session,
        asyncio.TaskGroup() as group,
    ):
        began = time.perf_counter()
        for turn in itertools.count():
            due = began + turn / rate
            if turn / rate >= seconds or ended.is_set():
                return
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(_count(session, call, due, answers))


async def _count(session: aiohttp.ClientSession, call: Call, due: float, answers: list[Answer]) -> None:
    answer = await _ask(session, call, due)
    if call.retry and not answer.status:
        answer = await _ask(session, call, due)
    answers.append(answer)


async def _ask(session: aiohttp.ClientSession, call: Call, due: float) -> Answer:
    try:
        async with session.post(call.url, data=call.body, headers=call.headers) as response:
            text = await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        why = f"{type(error).__name__}: {error}"
        return Answer(due, time.perf_counter() - due, 0, error=why)
    headers = response.headers
    return Answer(
        due,
        time.perf_counter() - due,
        response.status,
        headers.get("X-Model-Version", ""),
        "" if response.status < 300 else text[:300].decode(errors="replace"),
        headers.get("Retry-After", ""),
    )


def summary(answers: Sequence[Answer]) -> Summary:
    """Count what became of the requests."""
    good = [each for each in answers if each.is_good]
    refused = sum(each.is_refused for each in answers)
    seconds = sorted(each.seconds for each in good) or [float("nan")]
    return Summary(
        requests=len(answers),
        good=len(good),
        refused=refused,
        failed=len(answers) - len(good) - refused,
        statuses=dict(sorted(Counter(each.status for each in answers).items())),
        versions=dict(sorted(Counter(each.version for each in good).items())),
        p50_s=statistics.median(seconds),
        p99_s=seconds[min(len(seconds) - 1, int(0.99 * len(seconds)))],
        worst_s=seconds[-1],
        outage_s=outage(answers),
    )


def outage(answers: Sequence[Answer]) -> float:
    """Return the longest time from a request that was not answered well to the next that was, 0 without any.

    Where none comes after it, the time goes to the end of the last request.
    """
    longest, down = 0.0, None
    for answer in sorted(answers):
        if answer.is_good and down is not None:
            longest, down = max(longest, answer.start - down), None
        elif not answer.is_good and down is None:
            down = answer.start
    if down is None:
        return longest
    return max(longest, max(each.start + each.seconds for each in answers) - down)

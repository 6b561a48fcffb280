"""Too many requests: three times what a server can answer, beside a client that asks as ever."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import flights
import psutil
import wrk
from load import Answer, Call, Summary, flow, running, summary
from server import Server

BEFORE_S, SETTLE_S, BACK_S, RATE = 5, 5, 60, 20
"""Seconds that clients ask before anything happens, after it, and at most until all is well; requests a second."""
FLOOD, FLOOD_ROWS, CLIENTS, CALM = 3, 512, 32, 3
REPLICA = "ray::ServeReplica"


class Flood(NamedTuple):
    """More requests than a server can answer."""

    capacity: wrk.Measured
    rate: float
    """Requests a second that were due."""
    seconds: float
    """For how long they were."""
    lasted_s: float
    """From the first request to the last answer."""
    answers: list[Answer]
    before: Summary
    """Of a small request beside it, before."""
    during: Summary
    recovered_s: float
    """From the flood's last request until the small one is answered as before; infinite when that took too long."""
    grown_mb: float
    """Most that the replicas took in addition."""


def body(rows: list[dict]) -> bytes:
    return json.dumps({"rows": rows}).encode()


def between(answers: Sequence[Answer], start: float, end: float) -> list[Answer]:
    """Return those that were due in this time."""
    return [each for each in answers if start <= each.start < end]


def flooded(server: Server, call: Call, folder: Path, seconds: float) -> Flood:
    """Measure how many large requests it answers, then let three times as many come for a while."""
    big = body(flights.rows(folder, FLOOD_ROWS))
    script = wrk.script(folder / "flood.lua", [big])
    capacity = wrk.run(server.url, script=script, clients=CLIENTS, seconds=BEFORE_S)
    rate = max(1.0, FLOOD * capacity.per_s)
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other,
        running(call, rate=RATE) as small,
    ):
        other.submit(time.perf_counter).result()  # a process of its own, so that the clients do not wait for each other
        time.sleep(BEFORE_S)
        calm, began = memory(server), time.perf_counter()
        flood = other.submit(flow, call._replace(body=big), rate=rate, seconds=seconds)
        most = calm
        while not flood.done():
            most = max(most, memory(server))
            time.sleep(0.2)
        lasted_s = time.perf_counter() - began
        before, ended = summary(between(small, 0, began)), max(each.start for each in flood.result())
        wait_for_calm(small, before)
    return Flood(
        capacity, rate, seconds, lasted_s, flood.result(), before, summary(between(small, began, ended)),
        recovered(between(small, ended, float("inf")), ended, before), most - calm,
    )  # fmt: skip


def wait_for_calm(small: list[Answer], before: Summary) -> None:
    """Wait until all requests of some seconds are good and quick, but not for ever."""
    began = time.perf_counter()
    while (now := time.perf_counter()) < began + BACK_S:
        time.sleep(0.2)
        recent = between(list(small), max(began, now - SETTLE_S), now)
        enough = now > began + SETTLE_S and len(recent) > SETTLE_S * RATE / 2
        if enough and not any(is_worse(each, before) for each in recent):
            return


def is_worse(answer: Answer, before: Summary) -> bool:
    """Whether it is not good, or slower than all before by a factor."""
    return not answer.is_good or answer.seconds > CALM * before.worst_s


def memory(server: Server) -> float:
    """Return the MB that the replicas hold."""
    found = 0
    for each in server.named(REPLICA):
        try:
            found += each.memory_info().rss
        except psutil.Error:  # it has just gone
            continue
    return found / 1e6


def recovered(after: Sequence[Answer], ended: float, before: Summary) -> float:
    """Return the seconds from the end to the first request from which on all are good and as quick as before."""
    worse = [each.start for each in after if is_worse(each, before)]
    if not worse:
        return 0.0
    return max(worse) + 1 / RATE - ended if max(worse) < max(each.start for each in after) - 1 else float("inf")


def flood_lines(flood: Flood) -> list[str]:
    """Say what too many requests did."""
    found = summary(flood.answers)
    statuses = ", ".join(f"{count:,} x {status or 'no answer'}" for status, count in found.statuses.items())
    return [
        f"Overload: the server answers {flood.capacity.per_s:,.0f} requests of {FLOOD_ROWS} rows a second to {CLIENTS}",
        f"clients of wrk (p99 {flood.capacity.p99_ms:,.0f} ms). For {flood.seconds:.0f} s, {flood.rate:,.0f} a second",
        f"were due; the last was answered, or given up, after {flood.lasted_s:.1f} s.",
        "",
        f"- Answers: {statuses}; {found.refused:,} refused with Retry-After, {found.failed} failed.",
        f"- p99 of those that were answered: {1000 * found.p99_s:,.0f} ms.",
        f"- The small requests beside it: {flood.during.good} good, {flood.during.refused} refused,"
        f" {flood.during.failed} failed; p99 {1000 * flood.during.p99_s:,.0f} ms"
        f" (before: {1000 * flood.before.p99_s:,.0f} ms).",
        f"- All good again, and no slower than {CALM} times the worst before: {again(flood.recovered_s)}.",
        f"- The replicas grew by {flood.grown_mb:.0f} MB at most.",
        "",
    ]


def again(seconds: float) -> str:
    return f"{seconds:.1f} s after the flood's last request" if seconds < float("inf") else f"not in {BACK_S} s"

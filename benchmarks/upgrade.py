"""What do clients notice while a served model is upgraded, rolled back, killed in parts and asked too much?

`upgrade.py [SECONDS of the upgrade] [SECONDS of each kill] [SECONDS of the flood]`
"""

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import flights
import psutil
from measured import ROOT, write
from serve import takes_overrides
from server import Server, free_port, load_average, started

sys.path.insert(0, str(ROOT / "tests"))
from load import Answer, Call, running, summary
from overload import BACK_S, BEFORE_S, RATE, REPLICA, SETTLE_S, Flood, between, body, flood_lines, flooded

UPGRADE_S, KILL_S, FLOOD_S = (
    float(sys.argv[place]) if len(sys.argv) > place else usual for place, usual in ((1, 60), (2, 30), (3, 10))
)
BROKEN = {"raises": "raises", "nan": "gives NaN", "hangs": "hangs"}
REFUSED, LONGEST_REFUSAL_S = 4, 60
PROXIES = ("haproxy", "ray::ProxyActor")
KILLS = {"a replica": (REPLICA,), "the controller": ("ray::ServeController",), "the proxy": PROXIES[:1]}


class Runs(NamedTuple):
    """What is promoted."""

    first: str
    second: str
    broken: dict[str, str]
    """Runs that break as they are loaded, by how."""


class Phase(NamedTuple):
    """A command that is typed while clients ask, and a while after it."""

    name: str
    answers: list[Answer]
    code: int | None = None
    """Its exit code; None where nothing was typed."""
    seconds: float = 0.0
    """How long it took."""


class Kill(NamedTuple):
    """A process that was killed while clients ask."""

    what: str
    count: int
    answers: list[Answer]
    back_s: float
    """Until as many are there again; infinite when that took too long."""


class Story(NamedTuple):
    """All that happened to one server."""

    replicas: int
    phases: list[Phase]
    kills: list[Kill]
    flood: Flood


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bu", dir="/tmp") as name:
        folder = Path(name)
        flights.project(folder)
        runs = prepared(folder)
        before = load_average()
        stories = [story(folder, runs, replicas) for replicas in ((1, 2) if takes_overrides() else (1,))]
    write("upgrade", page(stories, before))


def prepared(folder: Path) -> Runs:
    """Train and score a version, a better one and those that break; the first is champion."""
    flag = folder / "break"
    runs = Runs(
        first=flights.train(folder, "train.seed=0", "train.epochs=1"),
        second=flights.train(folder, "train.seed=1"),
        broken={kind: flights.train(folder, *breaking(kind, flag)) for kind in BROKEN},
    )
    flights.typed(folder, "score", runs.first, runs.second, *runs.broken.values())
    flights.typed(folder, "promote", runs.first)
    flag.touch()
    return runs


def breaking(kind: str, flag: Path) -> list[str]:
    """Return the overrides of a run that is as good as the others until the flag is there."""
    params = json.dumps({"kind": kind, "flag": str(flag)})
    return ["model.type=breaks:make", f"model.params={params}", "train.epochs=4"]


def story(folder: Path, runs: Runs, replicas: int) -> Story:
    """Serve the champion and let everything happen to it."""
    with served(folder, replicas) as server:
        call = Call(server.url, body(flights.rows(folder, 1)))
        phases = upgraded(folder, runs, call) if flights.can(says="rollback") else []
        kills = [killed(server, call, what) for what in KILLS]
        flood = flooded(server, call, folder, FLOOD_S)
    tell(f"flooded: recovered after {flood.recovered_s:.1f} s, {failures(flood.answers)}")
    return Story(replicas, phases, kills, flood)


@contextmanager
def served(folder: Path, replicas: int) -> Iterator[Server]:
    """Type `raymle serve` and wait for its first answer."""
    port = free_port()
    words = [f"serve.replicas.min={replicas}", f"serve.replicas.max={replicas}"] if replicas > 1 else []
    argv = [*flights.RAYMLE, "serve", "models:/flights@champion", *words, "--port", str(port)]
    row, environ = body(flights.rows(folder, 1)), flights.environment()
    url = f"http://127.0.0.1:{port}/predict"
    with started(argv, folder, url=url, body=row, environ=environ, end=signal.SIGINT) as server:
        tell(f"{replicas} replicas, ready after {server.ready_s:.1f} s")
        yield server


def upgraded(folder: Path, runs: Runs, call: Call) -> list[Phase]:
    """Upgrade, roll back, and try what breaks, while clients ask."""
    steps = {"promote a better version": ("promote", runs.second), "rollback": ("rollback", "flights")}
    steps |= {f"promote one that {BROKEN[kind]}": ("promote", run) for kind, run in runs.broken.items()}
    typed, began = [], time.perf_counter()
    with running(call, rate=RATE) as answers:
        time.sleep(BEFORE_S)
        marks = [began]
        for name, words in steps.items():
            marks.append(time.perf_counter())
            done = flights.typed(folder, *words, codes=None)
            typed.append((name, done))
            tell(f"{name}: exit code {done.code} after {done.seconds:.1f} s")
            time.sleep(SETTLE_S)
        marks.append(time.perf_counter())
        time.sleep(max(0.0, began + UPGRADE_S - time.perf_counter()))
    parts = [between(answers, *ends) for ends in zip(marks, [*marks[1:], float("inf")], strict=True)]
    middle = [Phase(name, part, done.code, done.seconds) for (name, done), part in zip(typed, parts[1:-1], strict=True)]
    return [Phase("before", parts[0]), *middle, Phase("after", parts[-1])]


def killed(server: Server, call: Call, what: str) -> Kill:
    """Kill a part of the server while clients ask; without HAProxy, the proxy is Ray's own."""
    titles = KILLS[what] if server.named(*KILLS[what]) else PROXIES[1:]
    there = server.named(*titles)
    victims = there[:1] if what == "a replica" else there
    began = time.perf_counter()
    with running(call, rate=RATE) as answers:
        time.sleep(BEFORE_S)
        for each in victims:
            each.kill()
        back_s = until_back(server, titles, there, victims)
        time.sleep(max(SETTLE_S, began + KILL_S - time.perf_counter()))
    tell(f"killed {what}: back after {back_s:.1f} s, {failures(answers)}")
    return Kill(what, len(victims), answers, back_s)


def until_back(
    server: Server, titles: tuple[str, ...], before: list[psutil.Process], victims: list[psutil.Process]
) -> float:
    """Return the seconds until there are as many processes of these titles as before, without the victims."""
    began = time.perf_counter()
    while (waited := time.perf_counter() - began) < BACK_S:
        if len(set(server.named(*titles)) - set(victims)) >= len(before):
            return waited
        time.sleep(0.2)
    return float("inf")


def failures(answers: Sequence[Answer]) -> str:
    """Say what went wrong, shortly."""
    found = summary(answers)
    errors = sorted({each.error[:120] for each in answers if not each.is_good})[:3]
    return (
        f"{found.failed} of {found.requests} failed, {found.refused} refused{''.join(f'; {each}' for each in errors)}"
    )


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def page(stories: list[Story], before: str) -> list[str]:
    """Lay out what was found."""
    return [
        "# What clients notice",
        "",
        f"{flights.ROWS:,} flights, 9 columns, MLP 256-128; `raymle serve models:/flights@champion`. A client sends",
        f"{RATE} requests of one row a second, whatever becomes of them, and never again. Failed is what has no",
        "answer and what is neither 2xx nor a 429 or 503 with Retry-After (refused). Latency counts from the moment a",
        "request is due; an outage from the first request that was not answered well to the next that was.",
        f"Load of the machine before: {before}.",
        "",
        *(line for each in stories for line in about(each)),
        *([] if len(stories) > 1 else ["A server of 2 replicas is not in this version.", ""]),
    ]


def about(story: Story) -> list[str]:
    """Tell one server's story."""
    return [
        f"## {story.replicas} replica{'s' * (story.replicas > 1)}",
        "",
        *upgrade_table(story.phases),
        *kill_table(story.kills),
        *flood_lines(story.flood),
    ]


HEAD = "requests | failed | refused | p50, ms | p99, ms | worst, ms | outage, s"


def upgrade_table(phases: list[Phase]) -> list[str]:
    if not phases:
        return ["Upgrades of a live server are not in this version.", ""]
    every = [answer for phase in phases for answer in phase.answers]
    rows = [f"| {each.name} | {typed(each)} | {counts(each.answers)} | {versions(each.answers)} |" for each in phases]
    return [
        f"| while | exit code, s | {HEAD} | answered by version |",
        "|--|--|--|--|--|--|--|--|--|--|",
        *rows,
        f"| all of it | | {counts(every)} | {versions(every)} |",
        "",
        f"A version that breaks is to be refused with exit code {REFUSED} in {LONGEST_REFUSAL_S} s: {verdict(phases)}.",
        "",
    ]


def verdict(phases: list[Phase]) -> str:
    broken = [each for each in phases if each.name.startswith("promote one")]
    return (
        "so it is" if all(each.code == REFUSED and each.seconds <= LONGEST_REFUSAL_S for each in broken) else "missed"
    )


def typed(phase: Phase) -> str:
    return "" if phase.code is None else f"{phase.code}, {phase.seconds:.1f}"


def counts(answers: Sequence[Answer]) -> str:
    """Return the cells of HEAD."""
    found = summary(answers)
    times = " | ".join(f"{1000 * each:.0f}" for each in (found.p50_s, found.p99_s, found.worst_s))
    return f"{found.requests:,} | {found.failed} | {found.refused} | {times} | {found.outage_s:.1f}"


def versions(answers: Sequence[Answer]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in summary(answers).versions.items())


def kill_table(kills: list[Kill]) -> list[str]:
    rows = [f"| {each.what} | {counts(each.answers)} | {each.back_s:.1f} |" for each in kills if each.count]
    return [f"| SIGKILL of | {HEAD} | another is there after, s |", "|--|--|--|--|--|--|--|--|--|", *rows, ""]


if __name__ == "__main__":
    main()

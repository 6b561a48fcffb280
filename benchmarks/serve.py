"""How many requests a second, and how fast, does `raymle serve` answer, against servers written by hand?

`serve.py [ROUNDS] [SECONDS of each measurement]`
"""

import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import flights
import wrk
from measured import ROOT, median, write
from server import free_port, load_average, post, started

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 10
CLIENTS, SIZES = (1, 16, 64), (1, 32)
BODIES, COMPARED, AT_ONCE, TOLERANCE = 64, 256, 32, 1e-5
WARM_S = 2
PEERS = ROOT / "benchmarks/peers"
OURS, TWO, BARE, DEFAULT, TUNED, MLFLOW = (
    "raymle, 1 replica",
    "raymle, 2 replicas",
    "FastAPI and ONNX Runtime by hand",
    "Ray Serve by its guide, all defaults",
    "Ray Serve by its guide, 128 requests a replica",
    "mlflow models serve",
)
GOALS = {DEFAULT: 8.0, TUNED: 8.0, BARE: 0.6}
"""How much faster raymle should be at 64 clients that send one row."""
TWO_REPLICAS = ("serve.replicas.min=2", "serve.replicas.max=2")


class Side(NamedTuple):
    """A server to measure."""

    argv: Callable[[int], list[str]]
    """The command, for a port."""
    path: str = "/predict"
    wrapper: str = "rows"
    """The key of the body that holds the rows."""
    end: int = signal.SIGTERM

    def body(self, rows: list[dict[str, Any]]) -> bytes:
        return json.dumps({self.wrapper: rows}).encode()


class Cell(NamedTuple):
    """What is measured of a server."""

    size: int
    clients: int


CELLS = [Cell(size, clients) for size in SIZES for clients in CLIENTS]


def sides(files: Path, run_id: str) -> dict[str, Side]:
    """Return every server that this version has."""
    peer, ray = [sys.executable, str(PEERS / "serve_fastapi.py")], [sys.executable, str(PEERS / "serve_ray.py")]
    scores = [str(Path(sys.executable).parent / "mlflow"), "models", "serve", "--env-manager", "local"]
    raymle = [*flights.RAYMLE, "serve", run_id]
    found = {
        OURS: Side(lambda port: [*raymle, "--port", str(port)], end=signal.SIGINT),
        BARE: Side(lambda port: [*peer, str(files), str(port)]),
        DEFAULT: Side(lambda port: [*ray, str(files), str(port)]),
        TUNED: Side(lambda port: [*ray, str(files), str(port), "128"]),
        MLFLOW: Side(
            lambda port: [*scores, "-m", str(files / "pyfunc"), "-h", "127.0.0.1", "-p", str(port)],
            "/invocations",
            "dataframe_records",
        ),
    }
    if takes_overrides():
        found[TWO] = Side(lambda port: [*raymle, *TWO_REPLICAS, "--port", str(port)], end=signal.SIGINT)
    return found


def takes_overrides() -> bool:
    """Whether `raymle serve` takes KEY=VALUE, as it does since it serves with more than one replica."""
    return flights.can("serve", "here", says="KEY=VALUE") or flights.can("serve", says="KEY=VALUE")


class Round(NamedTuple):
    """One start of one server, and all that was measured of it."""

    ready_s: float
    off: float
    """How far its probabilities are from those of `raymle predict`, at most."""
    cells: dict[Cell, wrk.Measured]


class Asked(NamedTuple):
    """Rows, and their probabilities of `yes` by `raymle predict`."""

    rows: list[dict[str, Any]]
    expected: list[float]


def measure(side: Side, folder: Path, asked: Asked) -> Round:
    """Start a server, hold its answers against what is expected, let wrk at it, end it."""
    url = f"http://127.0.0.1:{(port := free_port())}{side.path}"
    scripts = {size: wrk.script(folder / f"{size}.lua", bodies(side, folder, size)) for size in SIZES}
    with started(
        side.argv(port), folder, url=url, body=side.body(asked.rows[:1]), environ=flights.environment(), end=side.end
    ) as server:
        off = distance(side, url, asked)
        wrk.run(url, script=scripts[1], clients=16, seconds=WARM_S)
        cells = {cell: wrk.run(url, script=scripts[cell.size], clients=cell.clients, seconds=SECONDS) for cell in CELLS}
    return Round(server.ready_s, off, cells)


def bodies(side: Side, folder: Path, size: int) -> list[bytes]:
    """Return the bodies that wrk posts in turn."""
    rows = flights.rows(folder, BODIES * size)
    return [side.body(rows[at::BODIES]) for at in range(BODIES)]


def distance(side: Side, url: str, asked: Asked) -> float:
    """Return how far a server's probabilities are from the expected; too far ends the benchmark."""
    found = [
        row["probabilities"]["yes"]
        for start in range(0, len(asked.rows), AT_ONCE)
        for row in post(url, side.body(asked.rows[start : start + AT_ONCE]))["predictions"]
    ]
    off = max(abs(one - other) for one, other in zip(found, asked.expected, strict=True))
    if off > TOLERANCE:
        raise SystemExit(f"{url} answers {off:.1e} off what `raymle predict` does")
    return off


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bs", dir="/tmp") as name:
        folder = Path(name)
        flights.project(folder)
        run_id = flights.train(folder)
        rows = flights.odd(flights.rows(folder, COMPARED))
        asked = Asked(rows, flights.expected(folder, run_id, rows))
        files, bundle = folder / "files", folder / "runs" / "runs" / run_id / "bundle"
        flights.checked([sys.executable, str(PEERS / "serve_files.py"), str(bundle), str(files)])
        before = load_average()
        rounds: dict[str, list[Round]] = {}
        for turn in range(ROUNDS):
            for who, side in sides(files, run_id).items():
                found = measure(side, folder, asked)
                rounds.setdefault(who, []).append(found)
                told = f"{found.cells[Cell(1, 64)].per_s:,.0f} req/s at 64 clients, load {load_average()}"
                print(turn, who, told, file=sys.stderr, flush=True)
    write("serve", page(rounds, before))


def page(rounds: dict[str, list[Round]], before: str) -> list[str]:
    """Lay out what was found."""
    packages = ("onnxruntime", "fastapi", "uvicorn", "mlflow")
    off = max(each.off for found in rounds.values() for each in found)
    return [
        "# Requests a second",
        "",
        f"{flights.ROWS:,} flights, 9 columns, MLP 256-128. Everybody serves the same weights, and the probabilities",
        f"of {COMPARED} rows are within {off:.0e} of `raymle predict`. `wrk -t1 -d{SECONDS:.0f}s --latency`, on the",
        f"machine of the server, posts {BODIES} different bodies of JSON in turn. {ROUNDS} interleaved rounds, each",
        "with a new server: median (range) of the good answers a second, medians of latency; bad are answers but 2xx",
        f"and broken connections. Load of the machine before: {before}.",
        "",
        "- raymle checks each row against the model's schema and batches requests, behind its own proxy.",
        f"- {BARE}: one process, pydantic, numpy, one session, orjson, uvloop, httptools; no batches.",
        "- Ray Serve by its guide: `@serve.batch` (64 rows, 2 ms), pandas, torch. By default a replica holds 5",
        "  requests at a time, and a router that finds no room waits before it looks again.",
        f"- {MLFLOW}: a pyfunc with pandas and ONNX Runtime, `--env-manager local`.",
        "",
        *(line for size in SIZES for line in table(rounds, size)),
        *verdicts(rounds),
        "",
        ", ".join(f"{each} {version(each)}" for each in packages) + ".",
    ]


def table(rounds: dict[str, list[Round]], size: int) -> list[str]:
    """Return the rows for requests of one size."""
    head = f"{size} row{'s' * (size > 1)} a request:"
    lines = [
        head,
        "",
        "| clients | who | requests/s | p50, ms | p99, ms | bad | raymle is faster by |",
        "|--|--|--|--|--|--|--|",
    ]
    for clients in CLIENTS:
        for who in rounds:
            found = [each.cells[Cell(size, clients)] for each in rounds[who]]
            latency = (statistics.median(getattr(each, name) for each in found) for name in ("p50_ms", "p99_ms"))
            times = " | ".join(f"{each:.2f}" for each in latency)
            bad = sum(each.bad for each in found)
            share = faster(rounds, who, Cell(size, clients))
            rates = median([each.per_s for each in found])
            lines.append(f"| {clients} | {who} | {rates} | {times} | {bad} | {share:.2f} |")
    return [*lines, ""]


def faster(rounds: dict[str, list[Round]], who: str, cell: Cell) -> float:
    """Return raymle's requests a second by another's."""
    rate = {each: statistics.median(found.cells[cell].per_s for found in rounds[each]) for each in (OURS, who)}
    return rate[OURS] / rate[who]


def verdicts(rounds: dict[str, list[Round]]) -> list[str]:
    """Say how it stands with the goals, and what a second replica does."""
    cell = Cell(1, 64)
    lines = ["At 64 clients and one row:", ""]
    for who, goal in GOALS.items():
        share = faster(rounds, who, cell)
        lines.append(f"- {share:.2f} x {who}; the goal is {goal:g}: {'met' if share >= goal else 'missed'}.")
    if TWO in rounds:
        lines += [f"- 1 to 2 replicas, on these cores: x {1 / faster(rounds, TWO, cell):.2f}."]
    ready = {who: statistics.median(each.ready_s for each in found) for who, found in rounds.items()}
    starts = ", ".join(f"{who} {seconds:.1f}" for who, seconds in ready.items())
    return [*lines, "", f"Seconds from the command to its first answer: {starts}."]


if __name__ == "__main__":
    main()

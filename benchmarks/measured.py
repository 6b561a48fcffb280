"""What the benchmarks share: a command in a process of its own, its seconds and peak memory, and a dated page."""

import datetime as dt
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]


def timed(argv: list[str], folder: Path, *, codes: tuple[int, ...] = (0,)) -> dict:
    """Run a command that may end with these codes; return its JSON, its seconds and its peak memory in MB."""
    started = time.perf_counter()
    code = (
        "import json, resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True, text=True);"
        "print(json.dumps([done.returncode, done.stdout, done.stderr[-3000:],"
        "resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], cwd=folder, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    exit_code, out, error, memory = json.loads(done.stdout)
    if exit_code not in codes:
        raise SystemExit(f"{argv}: exit code {exit_code}\n{error}")
    return {"answer": json.loads(out[out.index("{") :]), "seconds": seconds, "memory_mb": memory / 1024}


def trained(config: Any, model: Any, splits: Any, *, metric: str, out: Path, parent: Any = None) -> Any:
    """Train one model as `raymle train` does, without recording it, and return what it came to."""
    from raymle import train

    epochs = train.fit(config, model, splits, metric=metric, folder=".", out=out, parent=parent)
    while True:
        try:
            next(epochs)
        except StopIteration as end:
            return end.value


def passes(folder: Path, answer: dict) -> float:
    """Return the rows a second of a run's passes over its train rows, as it reported them: no start, no validation."""
    from raymle.tracking.journal import read

    told = [entry.event for entry in read(folder / f"runs/journals/{answer['run_id']}.jsonl")]
    speeds = [each["values"]["rows_per_second"] for each in told if "rows_per_second" in each.get("values", {})]
    return statistics.harmonic_mean(speeds)


def interleaved(ours: list[str], theirs: list[str], repeats: int) -> tuple[list[dict], list[dict]]:
    """Run the peer and raymle in turn on the flights table; raymle prepares anew each time."""
    sys.path.insert(0, str(ROOT / "jobs/flights"))
    from data import build

    runs: tuple[list[dict], list[dict]] = ([], [])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "jobs/flights/raymle.yaml", folder)
        build(folder / "flights.parquet")
        for _ in range(repeats):
            runs[1].append(timed(theirs, folder))
            runs[0].append(timed(ours, folder))
            shutil.rmtree(folder / "runs")
    return runs


def median(values: list[float]) -> str:
    """Return the median with the range."""
    return f"{statistics.median(values):,.1f} ({min(values):,.1f} to {max(values):,.1f})"


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the ratio of the medians."""
    return statistics.median(ours) / statistics.median(theirs)


def write(name: str, lines: list[str]) -> None:
    """Write a dated result and show it."""
    load = os.getloadavg()[0]
    packages = ", ".join(f"{each} {version(each)}" for each in ("torch", "ray", "pyarrow", "numpy"))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    about = f"{machine}, {packages}; load {load:.1f} at the end"
    threads = f"OMP_NUM_THREADS={set_to} " if (set_to := os.environ.get("OMP_NUM_THREADS")) else ""
    text = "\n".join([*lines, "", f"Machine: {about}. Command: `{threads}python benchmarks/{name}.py`.", ""])
    (RESULTS / f"{dt.datetime.now(dt.UTC).date()}-{name}.md").write_text(text)
    print(text)

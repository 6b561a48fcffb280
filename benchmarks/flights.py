"""The model that the serving benchmarks serve: 60,000 flights, 9 columns, an MLP; and the rows that ask it."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from measured import ROOT

RAYMLE = (sys.executable, "-m", "raymle")
ROWS = 60_000
FEATURES = ("month", "day", "dep_time", "dep_delay", "sched_arr_time", "carrier", "origin", "dest", "distance")
SPEC = """
name: flights
data: {source: flights.parquet, target: late, key: [id]}
model: {type: mlp, params: {hidden: [256, 128]}}
train: {epochs: 2, early_stopping: null}
evaluate: {metric: roc_auc, positive: "yes"}
promote: {model: flights, require: ["roc_auc >= 0.5"], min_fresh_rows: 100}
"""


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    answer: Any
    """Its JSON; None when it printed none."""
    error: str
    seconds: float


def project(folder: Path) -> None:
    """Write the table and the spec; networks that break when they are loaded lie beside them."""
    sys.path.insert(0, str(ROOT / "jobs/flights"))
    from data import build

    build(folder / "all.parquet", rows=ROWS)
    table = pq.read_table(folder / "all.parquet", columns=[*FEATURES, "late"])
    pq.write_table(table.add_column(0, "id", pa.array(range(len(table)))), folder / "flights.parquet")
    (folder / "all.parquet").unlink()
    (folder / "raymle.yaml").write_text(SPEC)
    shutil.copy(Path(__file__).parent / "peers/breaks.py", folder)


def typed(folder: Path, *words: str, codes: tuple[int, ...] | None = (0,)) -> Done:
    """Type `raymle WORDS --json`; a code that is not among those ends the benchmark, with None none does."""
    started = time.perf_counter()
    done = subprocess.run(
        [*RAYMLE, *words, "--json"], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    if codes is not None and done.returncode not in codes:
        raise SystemExit(f"raymle {' '.join(words)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr[-3000:]}")
    start = done.stdout.find("{")
    answer = json.loads(done.stdout[start:]) if start >= 0 else None
    return Done(done.returncode, answer, done.stderr, time.perf_counter() - started)


def environment() -> dict[str, str]:
    """Return the environment of a command: this checkout, and nothing that an outer Ray or MLflow left."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"  # `mlflow models serve` looks for uvicorn there
    return kept | {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "RAY_AUTH_MODE": "token"}


def can(*words: str, says: str) -> bool:
    """Whether the help of `raymle WORDS` says this."""
    argv = [*RAYMLE, *words, "--help"]
    return says in subprocess.run(argv, env=environment(), capture_output=True, text=True, check=False).stdout


def train(folder: Path, *words: str) -> str:
    """Train with these overrides and return the run's id."""
    return str(typed(folder, "train", "raymle.yaml", *words).answer["run_id"])


def checked(argv: list[str]) -> None:
    """Run a command of the set-up; its failure ends the benchmark."""
    done = subprocess.run(argv, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{argv}: exit code {done.returncode}\n{done.stderr[-3000:]}")


def rows(folder: Path, count: int) -> list[dict[str, Any]]:
    """Return rows of features from all over the table."""
    table = pq.read_table(folder / "flights.parquet", columns=list(FEATURES))
    step = max(1, len(table) // count)
    return table.take(list(range(0, step * count, step))[:count]).to_pylist()


def odd(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of which some hold a value that training never saw, or none."""
    return [
        {**row, **({"carrier": "ZZ"} if place % 7 == 0 else {}), **({"dep_delay": None} if place % 5 == 0 else {})}
        for place, row in enumerate(asked)
    ]


def expected(folder: Path, run_id: str, asked: list[dict[str, Any]]) -> list[float]:
    """Return each row's probability of `yes`, by `raymle predict`."""
    table = pa.Table.from_pylist([{"id": place, **row} for place, row in enumerate(asked)])
    pq.write_table(table, folder / "asked.parquet")
    typed(folder, "predict", run_id, "asked.parquet", "answers.parquet")
    found = {int(row["id"]): row["probability_yes"] for row in pq.read_table(folder / "answers.parquet").to_pylist()}
    return [found[place] for place in range(len(asked))]

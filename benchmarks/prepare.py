"""How fast rows become shards: raymle against polars and Ray Data's preprocessors, and what the splits cost.

    python benchmarks/prepare.py [--rows 1000000 10000000] [--repeats 3] [--out FILE]

Every measurement is a process of its own, which runs this file with the name of one measurement.
"""

import argparse
import datetime as dt
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NUMBERS = [f"n{place:02}" for place in range(14)]
SIZES = {"c0": 3, "c1": 10, "c2": 50, "c3": 300, "c4": 1000, "c5": 5000}
WITH_NULLS = {"n00", "n01", "n02", "c0", "c3"}
FEATURES = [*NUMBERS, *SIZES]
RAY_ROWS = 1_000_000
CHUNK = 8 * 131_072
"""Rows of a row group: whole blocks, so that it is known beforehand where the blocks end."""
SIDES = ("train", "validation", "test")


def synthesise(folder: Path, rows: int) -> None:
    """Write rows.parquet and the side of every row."""
    draw = np.random.default_rng(0)
    np.save(folder / "sides.npy", draw.choice(np.arange(3, dtype=np.uint8), rows, p=[0.8, 0.1, 0.1]))
    writer = None
    for start in range(0, rows, CHUNK):
        table = _rows(draw, min(CHUNK, rows - start))
        writer = writer or pq.ParquetWriter(folder / "rows.parquet", table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def _rows(draw: np.random.Generator, rows: int) -> pa.Table:
    def with_nulls(name: str, values: Any) -> pa.Array:
        return pa.array(values, mask=draw.random(rows) < 0.05) if name in WITH_NULLS else pa.array(values)

    columns = {name: with_nulls(name, draw.normal(place, place + 1.0, rows)) for place, name in enumerate(NUMBERS)}
    for name, size in SIZES.items():
        codes = with_nulls(name, (draw.random(rows) ** 2 * size).astype(np.int32))
        columns[name] = pa.DictionaryArray.from_arrays(codes, [f"{name} {each}" for each in range(size)]).cast(
            pa.string()
        )
    columns["y"] = pa.array(np.where(draw.random(rows) < 0.3, "yes", "no"))
    return pa.table(columns)


def passes(folder: Path) -> float:
    """Statistics, encoding and writing with sides that are given: no hashes, no order, no checksums."""
    from raymle.config import DataConfig, SplitConfig
    from raymle.data import blocks, hashes, passes, shards, source, split, transform
    from raymle.data.infer import infer
    from raymle.data.schema import Contract

    # ruff: noqa: SLF001  the passes alone are not public
    prepare = importlib.import_module("raymle.data.prepare")
    shards.canonical_order = lambda *_: np.empty(0, np.int64)  # type: ignore[assignment]
    sides = np.load(folder / "sides.npy")
    chance = hashes.mix(np.arange(len(sides), dtype=np.uint64))
    start = time.perf_counter()
    found = source.resolve("rows.parquet", folder=str(folder))
    schema = infer(found, DataConfig(source="rows.parquet", target="y"))
    schema = schema.model_copy(update={"classes": ("no", "yes")})
    look = passes.Look(schema, SplitConfig(), lambda rows: rows)
    placed = passes.Placed(look, schema, split.Rule(method="column", seed=0, cuts={}))
    known = [
        passes.Seen(Contract(schema), chance[group], chance[group], chance[group], sides[group], None)
        for group in _blocks(found, blocks.ROWS)
    ]
    rows = blocks.Blocks(found)
    whole, samples = prepare._fit(rows, placed, sides, known)
    learned = transform.learn(whole, prepare._medians(whole, samples["train"]))
    encode = passes.Encode(placed, learned)
    prepare._write(rows, encode, folder / "raymle", sides, identity=chance, known=known)
    return time.perf_counter() - start


def _blocks(found: Any, rows: int) -> list[slice]:
    """Return where the blocks of a parquet file begin and end: known from its footer."""
    total = pq.read_metadata(found.files[0]).num_rows
    return [slice(start, min(start + rows, total)) for start in range(0, total, rows)]


def whole(folder: Path) -> float:
    """All of raymle.data.prepare: contract, hashes, duplicates, split, order, drift, checksums."""
    from raymle.config import DataConfig, SplitConfig
    from raymle.data import prepare
    from raymle.store import open_store

    start = time.perf_counter()
    store = open_store(str(folder / "store"))
    prepare(DataConfig(source="rows.parquet", target="y"), SplitConfig(), store, folder=str(folder))
    return time.perf_counter() - start


def polars(folder: Path) -> float:
    """The same statistics, inputs and files by polars, eagerly and in memory."""
    import polars as pl

    sides = np.load(folder / "sides.npy")
    start = time.perf_counter()
    rows = pl.read_parquet(folder / "rows.parquet")
    train = rows.filter(pl.Series(sides == 0))
    means, deviations = train.select(pl.col(NUMBERS).mean()), train.select(pl.col(NUMBERS).std(ddof=0))
    medians, nulls = (
        train.sample(min(20_000, len(train))).select(pl.col(NUMBERS).median()),
        train.select(pl.col(FEATURES).null_count()),
    )
    inputs = []
    for name in NUMBERS:
        filled = pl.col(name).fill_null(medians[name][0])
        inputs.append(((filled - means[name][0]) / deviations[name][0]).clip(-1e4, 1e4).cast(pl.Float32))
    inputs += [pl.col(name).is_null().cast(pl.Float32).alias(f"{name}?") for name in NUMBERS if nulls[name][0]]
    codes = []
    for name in SIZES:
        words = train[name].drop_nulls().value_counts(sort=True)[name].head(10_000)
        missing = len(words) + 1 if nulls[name][0] else 0
        known = pl.col(name).cast(pl.Enum(words), strict=False).to_physical().cast(pl.Int32) + 1
        codes.append(pl.when(pl.col(name).is_null()).then(missing).otherwise(known.fill_null(0)).cast(pl.Int32))
    for place, side in enumerate(SIDES[:2]):
        part = train if place == 0 else rows.filter(pl.Series(sides == place))
        (folder / "polars" / side).mkdir(parents=True)
        np.save(folder / "polars" / side / "numbers.npy", part.select(inputs).to_numpy(order="c"))
        codes_named = [each.alias(name) for each, name in zip(codes, SIZES, strict=True)]
        np.save(folder / "polars" / side / "codes.npy", part.select(codes_named).to_numpy(order="c"))
        np.save(folder / "polars" / side / "target.npy", part.select(pl.col("y") == "yes").to_series().cast(int))
    rows.filter(pl.Series(sides == 2)).write_ipc(folder / "polars" / "test.arrow", compression="lz4")
    return time.perf_counter() - start


def ray_data(folder: Path) -> float:
    """Ray Data's imputers, scaler and encoder over all rows, written as parquet; Ray has started before."""
    from raymle import runtime

    with runtime.connected(runtime.local("benchmark")):
        import ray.data
        from ray.data.preprocessors import Chain, OrdinalEncoder, SimpleImputer, StandardScaler

        ray.data.DataContext.get_current().enable_progress_bars = False
        start = time.perf_counter()
        steps = Chain(
            SimpleImputer(NUMBERS, strategy="mean"),
            SimpleImputer(list(SIZES), strategy="constant", fill_value=""),
            StandardScaler(NUMBERS),
            OrdinalEncoder([*SIZES, "y"]),
        )
        rows = ray.data.read_parquet(str(folder / "rows.parquet"))
        steps.fit_transform(rows).write_parquet(str(folder / "ray"))
        return time.perf_counter() - start


MEASURED: dict[str, Callable[[Path], float]] = {
    "passes": passes,
    "whole": whole,
    "polars": polars,
    "ray_data": ray_data,
}


def measure(name: str, source: Path) -> dict[str, float]:
    """Run one measurement in a process and a folder of its own."""
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        for file in source.iterdir():
            (Path(folder) / file.name).symlink_to(file)
        command = [sys.executable, __file__, "--one", name, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{name:10} {found['seconds']:8.2f} s {found['peak_mib']:8.0f} MiB", file=sys.stderr, flush=True)
    return found


def one(name: str, folder: Path) -> None:
    seconds = MEASURED[name](folder)
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "peak_mib": peak / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, nargs="*", default=[7, 3], help="for each of --rows")
    parser.add_argument("--names", nargs="*", default=["passes", "polars", "whole"])
    parser.add_argument("--no-ray", action="store_true")
    today = dt.datetime.now(dt.UTC).date()
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / f"{today}-prepare.md")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(asked.one[0], Path(asked.one[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), asked)


def run(folder: Path, asked: argparse.Namespace) -> None:
    """Measure one size after another, and report what is known after each."""
    plan = [(rows, repeats, asked.names) for rows, repeats in zip(asked.rows, asked.repeats, strict=False)]
    if not asked.no_ray:
        plan.insert(1, (RAY_ROWS, 1, ["ray_data"]))
    found: dict[str, Any] = {}
    for rows, repeats, names in plan:
        source = folder / f"{names[0]}{rows}"
        source.mkdir()
        synthesise(source, rows)
        each: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for _ in range(repeats):  # in turn, so that what else the machine does hits all alike
            for name in names:
                each[name].append(measure(name, source))
        for name, runs in each.items():
            seconds, peak = (statistics.median(run[key] for run in runs) for key in ("seconds", "peak_mib"))
            found[f"{name} {rows}"] = {"rows": rows, "seconds": seconds, "peak": peak, "runs": len(runs)}
        for file in source.iterdir():
            file.unlink()
        text = report(found, asked)
        if asked.out:
            asked.out.write_text(text)
    print(text)


def report(found: dict[str, Any], asked: argparse.Namespace) -> str:
    names = {
        "passes": "raymle: statistics, encoding, writing; sides given",
        "polars": "polars: the same, eager in memory",
        "whole": "raymle: all of data.prepare",
        "ray_data": "Ray Data: imputers, StandardScaler, OrdinalEncoder, parquet; no split",
    }
    lines = [
        f"# Preparing rows, {dt.datetime.now(dt.UTC).date()}",
        "",
        "How fast do 20 columns (14 numbers, 6 categories of 3 to 5,000 values, 5 % nulls in five of them) become",
        "shards, next to polars and to Ray Data's preprocessors, and what do splits that cannot leak add?",
        "",
        f"Machine: 2 cores, CPU only. Python {sys.version.split()[0]}, "
        + ", ".join(f"{name} {version(name)}" for name in ("pyarrow", "numpy", "polars", "ray"))
        + ".",
        f"Command: `python benchmarks/prepare.py --rows {' '.join(map(str, asked.rows))}"
        f" --repeats {' '.join(map(str, asked.repeats))}`; each run a process of its own, medians.",
        "",
        "| what | rows | seconds | rows/s | peak RSS, MiB | runs |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, each in found.items():
        rate = each["rows"] / each["seconds"]
        lines.append(
            f"| {names[name.split()[0]]} | {each['rows']:,} | {each['seconds']:.2f} | {rate:,.0f} "
            f"| {each['peak']:,.0f} | {each['runs']} |"
        )
    lines += [
        "",
        *_verdicts(found, asked.rows),
        "",
        "Ray Data's peak is that of the driver alone.",
    ]
    return "\n".join([*lines, ""])


def _verdicts(found: dict[str, Any], sizes: list[int]) -> list[str]:
    rate = {name: each["rows"] / each["seconds"] for name, each in found.items()}
    lines = []
    for rows in sizes:
        ours, theirs, all_of_it = (f"{name} {rows}" for name in ("passes", "polars", "whole"))
        if ours in rate and theirs in rate:
            ratio = rate[ours] / rate[theirs]
            lines.append(f"- {rows:,} rows: {ratio:.2f} x polars (target 0.8: {'met' if ratio >= 0.8 else 'missed'}).")
        if ours in rate and all_of_it in rate:
            more = found[all_of_it]["seconds"] - found[ours]["seconds"]
            lines.append(
                f"- {rows:,} rows: contract, hashes, duplicates, order, drift and checksums add {more:.2f} s, "
                f"{more / rows * 1e6:.2f} s a million rows; {rate[all_of_it]:,.0f} rows/s in all."
            )
        if ours in rate and f"ray_data {RAY_ROWS}" in rate:
            ratio = rate[ours] / rate[f"ray_data {RAY_ROWS}"]
            verdict = "met" if ratio >= 10 else "missed"
            lines.append(
                f"- {rows:,} rows: {ratio:.0f} x the rows/s of Ray Data (target 10: {verdict}); "
                f"Ray Data had {RAY_ROWS:,} rows, its start not counted."
            )
    return lines


if __name__ == "__main__":
    main()

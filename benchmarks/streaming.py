"""What does shuffling in windows cost when a table fits, and what does it save when memory holds an eighth of it?"""

import mmap
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from measured import ROOT, median, write

sys.path.insert(0, str(ROOT))
from raymle import data, train
from raymle.config import DataConfig, ModelConfig, SplitConfig, TrainConfig
from raymle.data import shards
from raymle.records import Splits
from raymle.store import open_store
from raymle.train import order

ROWS, COLUMNS, EPOCHS, BATCH, MOST_S = 1_000_000, 60, 3, 4096, 20
REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
GIB = ROWS * 0.8 * (COLUMNS * 4 + 16) / 2**30
SIZES = {"whole table": 64.0, "1/16 of it": GIB / 16, "1/64 of it": GIB / 64}
MODEL = ModelConfig(type="mlp", params={"hidden": [64], "dropout": 0.0})
Runs = dict[str, list[list[dict[str, float]]]]


def table(*, ordered: bool) -> pa.Table:
    """Numbers of which a noisy sum decides; ordered by the target, no part of the file is like another."""
    draw = np.random.default_rng(0)
    numbers = draw.standard_normal((COLUMNS, ROWS), np.float32)
    signal = draw.standard_normal(COLUMNS, np.float32) @ numbers + draw.normal(scale=3.0, size=ROWS)
    if ordered:
        places = np.argsort(signal)
        numbers, signal = numbers[:, places], signal[places]
    return pa.table({f"n{place}": each for place, each in enumerate(numbers)} | {"y": np.where(signal > 0, "a", "b")})


def prepared(folder: Path, *, ordered: bool) -> Splits:
    store = open_store(str(folder / f"ordered-{ordered}"))
    source = table(ordered=ordered)
    return data.prepare(DataConfig(source="memory", target="y"), SplitConfig(), store, folder=".", source=source)


def trainings(splits: Splits, folder: Path, repeats: int) -> Runs:
    """Train with every size in turn, so that what else the machine does hits all alike; return each epoch's metrics."""
    runs: Runs = {name: [] for name in SIZES}
    for repeat in range(repeats):
        for name, gib in SIZES.items():
            config = TrainConfig(epochs=EPOCHS, batch_size=BATCH, early_stopping=None, shuffle_gib=gib)
            out = folder / f"{repeat}-{gib}"
            runs[name].append([])
            began = time.process_time()
            for report in train.fit(config, MODEL, splits, metric="roc_auc", folder=".", out=out):
                now = time.process_time()
                rate = splits.rows["train"] / (now - began)
                runs[name][-1].append(report.metrics | {"rows_per_cpu_second": rate})
                began = now
    return runs


def gather(splits: Splits, gib: float, memory: int) -> float:
    """Return the rows/s that are gathered when memory holds that many bytes: an epoch, or what 20 seconds allow.

    A window is dropped when it is done, as the system drops what was used longest ago; with none, all that was read
    is dropped whenever it is more than memory holds.
    """
    rows, files = shards.load(splits, "train"), [*Path(splits.path).rglob("*.npy")]
    windows = order.windows(rows, int(gib * 2**30))
    ends = np.cumsum([sum(map(len, blocks)) for blocks in windows.spans(0, 1)]) if windows else np.zeros(0)
    forget(rows, files)
    started, read, done = time.perf_counter(), disk_bytes(), 0
    for part in order.batches(rows, TrainConfig(shuffle_gib=gib), 1, steps=len(rows.order) // BATCH):
        for piece in np.array_split(part, 16):
            for array in (rows.numbers, rows.codes, rows.target):
                array[piece]
            done += len(piece)
            is_over = not windows and disk_bytes() - read > memory
            if is_over or ((done - len(piece) < ends) & (ends <= done)).any():
                forget(rows, files)
                read = disk_bytes()
        if time.perf_counter() - started > MOST_S:
            break
    return done / (time.perf_counter() - started)


def forget(rows: shards.Arrays, files: list[Path]) -> None:
    """Drop the files from memory, as the system does when it is short of it."""
    for array in (rows.numbers, rows.codes, rows.target):
        if isinstance(array, np.memmap):
            array._mmap.madvise(mmap.MADV_DONTNEED)  # noqa: SLF001  pages that are mapped are not dropped
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def disk_bytes() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def main() -> None:
    torch.set_num_threads(1)  # two that wait for each other measure how busy the machine is
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shuffled, ordered = prepared(folder, ordered=False), prepared(folder, ordered=True)
        runs, by_target = trainings(shuffled, folder / "a", REPEATS), trainings(ordered, folder / "b", 1)
        memory = int(GIB * 2**30 / 8)
        gathered = {size: [gather(shuffled, gib, memory) for _ in range(REPEATS)] for size, gib in SIZES.items()}
    rates = {size: [epoch["rows_per_cpu_second"] for run in each for epoch in run[1:]] for size, each in runs.items()}
    lines = [
        "# Shuffling in windows",
        "",
        f"{ROWS:,} rows of {COLUMNS} numbers, {GIB:.2f} GiB of train arrays, MLP 64, batch {BATCH}, one thread.",
        f"Training: thousand rows a second of CPU, {REPEATS} interleaved runs of {EPOCHS} epochs without the first,",
        "all in memory. Gathering: thousand rows a second of an epoch, nothing computed, while memory holds an eighth",
        "of the table (emulated: a window is dropped from the page cache when it is done; without windows all is",
        f"dropped whenever more than that was read; {MOST_S} s of an epoch at most). Median (range). Loss: validation,",
        "after the last epoch.",
        "",
        "| window | training | ratio | gathering | ratio | loss | loss, file sorted by target |",
        "|--|--|--|--|--|--|--|",
    ]
    for size in SIZES:
        cells = [size]
        for each in (rates, gathered):
            ratio = statistics.median(each[size]) / statistics.median(each["whole table"])
            cells += [median([rate / 1000 for rate in each[size]]), f"{ratio:.2f}"]
        cells += [f"{each[size][0][-1]['validation_loss']:.4f}" for each in (runs, by_target)]
        lines.append(f"| {' | '.join(cells)} |")
    write("streaming", lines)


if __name__ == "__main__":
    main()

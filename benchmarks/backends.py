"""Is a step of raymle's two backends as fast as bare torchrun DDP and bare horovodrun?"""

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from groups import Group, group
from measured import ROOT, write

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 40
ROWS, FEATURES, WARM, CHECKS, STARTS = 3840, 64, 3, 10, 3
PEERS, BIN = ROOT / "benchmarks/peers", Path(sys.executable).parent
OURS = [sys.executable, str(PEERS / "backends_raymle.py")]
BARE = {
    "ddp": [str(BIN / "torchrun"), "--standalone", "--nproc-per-node", "2", str(PEERS / "backends_ddp.py")],
    "horovod": [
        str(BIN / "horovodrun"), "-np", "2", "--gloo", sys.executable, str(PEERS / "backends_horovod.py"),
    ],
}  # fmt: skip
SPEC = "name: start\ndata: {source: table.parquet, target: target}\ntrain: {epochs: 2, early_stopping: null}\n"
MARKS = {
    "driver": "raymle imported", "ray": "Ray up", "entered": "workers up", "imported": "torch imported",
    "joined": "group joined", "ready": "model built", "stepped": "first step",
}  # fmt: skip


class Size(NamedTuple):
    """A network of three hidden layers, and the steps of a turn."""

    name: str
    width: int
    steps: int


SIZES = [Size("1M", 704, 30), Size("10M", 2208, 10)]


@dataclass
class Pair:
    """raymle against the bare backend: ms a step of each round, and what else was seen."""

    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    check_ms: float = 0.0
    apart: float = 0.0
    """Largest difference of their mean losses in a turn."""
    ray_share: float = 0.0
    """CPU that Ray's own processes took, as a share of a core."""
    starts: list[dict[str, float]] = field(default_factory=list)
    """Seconds until each mark, raymle's and the bare one's."""

    @property
    def ratios(self) -> list[float]:
        return [ours / bare for ours, bare in zip(self.ours, self.bare, strict=True)]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="turns-") as name:
        folder = Path(name)
        table(folder)
        pairs = {(backend, size): compare(backend, size, folder) for size in SIZES for backend in BARE}
        trains = {backend: [first_epoch(backend, folder) for _ in range(STARTS)] for backend in BARE}
    write("backends", page(pairs, trains))


def table(folder: Path) -> None:
    """Write rows of numbers whose classes a plane divides, as arrays and as a table."""
    numbers = np.random.default_rng(0).normal(size=(ROWS, FEATURES)).astype(np.float32)
    target = (numbers[:, :8].sum(1) > 0).astype(np.int64)
    np.save(folder / "numbers.npy", numbers)
    np.save(folder / "target.npy", target)
    columns = {f"n{i}": numbers[:, i] for i in range(FEATURES)}
    pq.write_table(pa.table(columns | {"target": np.where(target, "yes", "no")}), folder / "table.parquet")


def compare(backend: str, size: Size, folder: Path) -> Pair:
    """Start both groups, then let them take turns; who is first changes with the round."""
    pair = Pair()
    more = [str(folder), str(size.width)]
    with (
        group(BARE[backend], folder, f"bare-{backend}-{size.name}", more) as bare,
        group([*OURS, backend], folder, f"raymle-{backend}-{size.name}", more) as ours,
    ):
        for epoch in range(1, WARM):
            alternate(pair, ours, bare, epoch, size.steps)
        pair = Pair(apart=pair.apart, starts=[ours.marks, bare.marks])
        started, cpu = time.perf_counter(), ours.cpu_seconds()
        for epoch in range(WARM, WARM + ROUNDS):
            alternate(pair, ours, bare, epoch, size.steps)
        pair.ray_share = (ours.cpu_seconds() - cpu) / (time.perf_counter() - started)
        pair.check_ms = statistics.median(ours.turn(0, 0)["ms"] for _ in range(CHECKS))
    return pair


def alternate(pair: Pair, ours: Group, bare: Group, epoch: int, steps: int) -> None:
    """Give each a turn."""
    turns = {each: each.turn(epoch, steps) for each in ((ours, bare) if epoch % 2 else (bare, ours))}
    pair.ours.append(turns[ours]["ms"] / steps)
    pair.bare.append(turns[bare]["ms"] / steps)
    pair.apart = max(pair.apart, abs(turns[ours]["loss"] - turns[bare]["loss"]))


def first_epoch(backend: str, folder: Path) -> float:
    """Seconds from `raymle train` with two workers to the end of the first epoch, 7 steps of a small network."""
    (folder / "raymle.yaml").write_text(SPEC)
    argv = [
        sys.executable,
        "-m",
        "raymle",
        "train",
        "train.workers=2",
        f"train.backend={backend}",
        "train.batch_size=512",
    ]
    started, said = time.perf_counter(), ""
    with subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 1/"):
                seconds = time.perf_counter() - started
                process.stderr.read()
                return seconds
            said += line
    raise SystemExit(f"no epoch: {said}")


def page(pairs: dict[tuple[str, Size], Pair], trains: dict[str, list[float]]) -> list[str]:
    """Lay out what was found."""
    turns = " and ".join(f"{size.steps} steps ({size.name})" for size in SIZES)
    apart = max(pair.apart for pair in pairs.values())
    ray = max(pair.ray_share for pair in pairs.values())
    whole = ", ".join(f"{backend} {statistics.median(found):.1f}" for backend, found in trains.items())
    return [
        "# A step of two workers against bare torchrun DDP and bare horovodrun",
        "",
        f"MLPs of three hidden layers over {FEATURES} numbers, fp32, fused AdamW, gradient norm clipped at 1,",
        "global batch 128; 2 workers of 1 thread, gloo. First weights, rows and order are the same on both sides,",
        f"and so are the losses, to {apart:.0e}. raymle's side is its own Learner in Ray Train workers,",
        "the bare ones are hand-written loops. Both groups of a pair are up, and one waits while the other works:",
        f"turns of {turns}, {ROUNDS} rounds. Median (quartiles).",
        "The target is a ratio that is not above 1 by more than its spread.",
        "",
        "| backend | parameters | raymle, ms a step | bare, ms a step | ratio in a round | raymle is |",
        "|--|--|--|--|--|--|",
        *(step_row(backend, size, pair) for (backend, size), pair in pairs.items()),
        "",
        f"Ray's own processes took {ray:.0%} of a core at most meanwhile; they run beside both sides.",
        "",
        "The proof that both workers hold the same weights, once an epoch:",
        "",
        "| backend | parameters | ms | share of an epoch of 100 steps |",
        "|--|--|--|--|",
        *(check_row(backend, size, pair) for (backend, size), pair in pairs.items()),
        "",
        "Seconds from the command to the first step, part by part, the later of the two workers, mean of both sizes;",
        "raymle's Horovod workers import torch while they come up:",
        "",
        f"| | {' | '.join(MARKS.values())} | all |",
        "|--|" + "--|" * (len(MARKS) + 1),
        *(
            f"| {who} {backend} | {parts([pairs[backend, size].starts[place] for size in SIZES])} |"
            for backend in BARE
            for place, who in enumerate(("raymle", "bare"))
        ),
        "",
        f"`raymle train` with two workers on {ROWS:,} rows, from the command to the end of its first epoch, s,",
        f"median of {STARTS}: {whole}.",
    ]


def step_row(backend: str, size: Size, pair: Pair) -> str:
    """Compare the steps of a pair."""
    cells = [quartiles(pair.ours), quartiles(pair.bare), quartiles(pair.ratios, 2), verdict(pair.ratios)]
    return f"| {backend} | {size.name} | {' | '.join(cells)} |"


def check_row(backend: str, size: Size, pair: Pair) -> str:
    """Set the check against the steps."""
    share = pair.check_ms / (100 * statistics.median(pair.ours))
    return f"| {backend} | {size.name} | {pair.check_ms:.1f} | {share:.2%} |"


def quartiles(values: list[float], digits: int = 1) -> str:
    """Return the median with the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def verdict(ratios: list[float]) -> str:
    """Say whether the quartiles lie on one side of 1."""
    low, _, high = statistics.quantiles(ratios, n=4)
    return "slower" if low > 1 else "faster" if high < 1 else "as fast"


def parts(starts: list[dict[str, float]]) -> str:
    """Return the mean seconds of each part, and of all of them."""
    mean = {name: statistics.mean(marks[name] for marks in starts) for name in starts[0]}
    cells, before = [], 0.0
    for name in MARKS:
        cells.append(f"{mean[name] - before:.1f}" if name in mean else "")
        before = mean.get(name, before)
    return " | ".join([*cells, f"{before:.1f}"])


if __name__ == "__main__":
    main()

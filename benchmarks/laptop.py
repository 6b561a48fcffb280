"""Is `raymle train` on a laptop as fast as a hand-written PyTorch script of the same network, epochs and batch?"""

import sys
from pathlib import Path

from measured import ROOT, interleaved, median, ratio, write

REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
PEER = [sys.executable, str(ROOT / "benchmarks/peers/laptop_pytorch.py"), "flights.parquet", "peer.pt"]
OURS = [
    str(Path(sys.executable).parent / "raymle"), "train", "data.types={}", "data.time=null",
    "train.early_stopping=null", "--json",
]  # fmt: skip


def main() -> None:
    ours, theirs = interleaved(OURS, PEER, REPEATS)
    rows = sum(ours[0]["answer"]["rows"].values())
    whole = [[run["seconds"] for run in runs] for runs in (ours, theirs)]
    memory = [[run["memory_mb"] for run in runs] for runs in (ours, theirs)]
    speed = [
        [5 * run["answer"]["rows"]["train"] / run["answer"]["seconds"]["train"] for run in ours],
        [run["answer"]["rows_per_second"] for run in theirs],
    ]
    area = [
        [run["answer"]["metrics"]["validation"]["roc_auc"] for run in ours],
        [run["answer"]["roc_auc"] for run in theirs],
    ]
    parts = [run["answer"]["seconds"] for run in ours][-1]
    write("laptop", [
        "# `raymle train` against a hand-written PyTorch script",
        "",
        f"flights, {rows:,} rows, MLP 256-128 with embeddings, 5 epochs, batch 1024;",
        f"{REPEATS} interleaved runs, median (range).",
        "raymle also hashes, splits, seals, bootstraps intervals, draws plots and a report, and records all in MLflow;",
        "rows/s include validation after each epoch on both sides. AUC is of each side's best epoch.",
        "",
        "| | raymle | hand-written | ratio | target |",
        "|--|--|--|--|--|",
        f"| whole process, s | {median(whole[0])} | {median(whole[1])} | {ratio(*whole):.2f} | <= 1.5, goal 1.25 |",
        f"| training, rows/s | {median(speed[0])} | {median(speed[1])} | {ratio(*speed):.2f} | >= 0.95 |",
        f"| ROC AUC | {area[0][-1]:.4f} | {area[1][-1]:.4f} | {area[0][-1] - area[1][-1]:+.4f} | within 0.003 |",
        f"| peak memory, MB | {median(memory[0])} | {median(memory[1])} | {ratio(*memory):.2f} | <= 1.5 |",
        "",
        f"raymle's parts in the last run, s: {', '.join(f'{name} {value:.1f}' for name, value in parts.items())}.",
    ])  # fmt: skip


if __name__ == "__main__":
    main()

"""Two workers: is raymle faster than Ray Data and Ray Train by the book, and where do the start-up seconds go?"""

import statistics
import sys
from pathlib import Path

from measured import ROOT, interleaved, median, ratio, write

REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
PEER = [sys.executable, str(ROOT / "benchmarks/peers/ddp_ray.py"), "flights.parquet"]
OURS = [
    str(Path(sys.executable).parent / "raymle"), "train", "--profile", "two_workers", "data.drop=[time_hour]",
    "data.time=null", "train.early_stopping=null", "--json",
]  # fmt: skip


def main() -> None:
    ours, theirs = interleaved(OURS, PEER, REPEATS)
    rows = sum(ours[0]["answer"]["rows"].values())
    whole = [[run["seconds"] for run in runs] for runs in (ours, theirs)]
    peer = {name: statistics.median(run["answer"][name] for run in theirs) for name in theirs[0]["answer"]}
    mine = {
        name: statistics.median(run["answer"]["seconds"][name] for run in ours) for name in ours[0]["answer"]["seconds"]
    }
    area = [run["answer"]["metrics"]["validation"]["roc_auc"] for run in ours][-1]
    write("ddp", [
        "# Two workers against Ray Data and Ray Train by the book",
        "",
        f"flights, {rows:,} rows, MLP 256-128 with embeddings, 5 epochs, global batch 1024, 2 gloo workers;",
        f"{REPEATS} interleaved runs, median (range).",
        "",
        "| | raymle | Ray by the book | ratio | target |",
        "|--|--|--|--|--|",
        f"| whole process, s | {median(whole[0])} | {median(whole[1])} | {ratio(*whole):.2f} | <= 0.6 |",
        f"| ROC AUC | {area:.4f} | {peer['roc_auc']:.4f} | | |",
        "",
        "Where the seconds go, medians:",
        "",
        f"- raymle: {', '.join(f'{name} {value:.1f}' for name, value in mine.items())}",
        "  (prepare starts Ray, train starts the workers)",
        f"- Ray: {', '.join(f'{name} {value:.1f}' for name, value in peer.items() if name != 'roc_auc')}",
    ])  # fmt: skip


if __name__ == "__main__":
    main()

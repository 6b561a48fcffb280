"""What are another model's weights worth when there are few rows? Digits 0 to 4 are known, 5 to 9 are learned."""

import logging
import statistics
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from measured import write
from sklearn.datasets import load_digits

from raymle import Experiment

ROWS, SEEDS = (3, 5, 20, 100), (0, 1, 2)
VALIDATION = 30
"""Rows of each class by which the best epoch is chosen, the same for all."""
MODEL = {"type": "mlp", "params": {"hidden": [128, 64], "dropout": 0.1}}
WAYS = {
    "scratch": {},
    "transfer: frozen body": {"from": "source", "trainable": ["layers.6"]},
    "fine-tune": {"from": "source", "layer_decay": 0.7},
}


@dataclass(frozen=True)
class Tables:
    """Rows with a target: all of the known classes, and of the new ones those to learn from and those to test on."""

    source: pd.DataFrame
    few: pd.DataFrame
    """With a column ``side``: train or validation."""
    test: pd.DataFrame


def tables(rows: int, seed: int) -> Tables:
    """Make the tables: the only place that knows what the data are."""
    digits = load_digits()
    columns = {f"pixel_{place:02}": digits.data[:, place] for place in range(64)}
    frame = pd.DataFrame({**columns, "digit": [f"d{digit}" for digit in digits.target]})
    is_new = digits.target >= 5
    shuffled = frame[is_new].sample(frac=1, random_state=seed)
    place = shuffled.groupby("digit").cumcount()
    few = shuffled[place < rows + VALIDATION].copy()
    few["side"] = np.where(place[place < rows + VALIDATION] < rows, "train", "validation")
    return Tables(frame[~is_new], few, shuffled[place >= rows + VALIDATION])


def experiment(name: str, frame: pd.DataFrame, folder: Path, *, seed: int, pretrained: dict) -> Experiment:
    """Describe one training."""
    train = {"epochs": 60, "batch_size": 32, "seed": seed, "early_stopping": None, "pretrained": pretrained}
    train["optimizer"] = {"learning_rate": 3e-3, "schedule": "warmup"}
    split = (
        {"method": "column", "by": "side"}
        if "side" in frame
        else {"fractions": {"train": 0.9, "validation": 0.1, "test": 0}}
    )
    return Experiment(
        name=name, data=frame, target="digit", model=MODEL, train=train, split=split, storage=str(folder),
        evaluate={"metric": "accuracy"},
    )  # fmt: skip


def accuracies(folder: Path, seed: int) -> dict[tuple[int, str], float]:
    """Train the source, then each way with each number of rows; return the accuracies on rows that none has seen."""
    source = experiment("known", tables(1, seed).source, folder, seed=seed, pretrained={}).train()
    found = {}
    for rows, (way, given) in product(ROWS, WAYS.items()):
        made = tables(rows, seed)
        pretrained = {**given, "from": source.id} if given else {}
        run = experiment("new", made.few, folder, seed=seed, pretrained=pretrained).train()
        found[rows, way] = run.evaluate(made.test).metrics["accuracy"]
    return found


def main() -> None:
    """Measure and write the page."""
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as name:
        found = [accuracies(Path(name, str(seed)), seed) for seed in SEEDS]
    lines = [
        "# What another model's weights are worth when there are few rows",
        "",
        f"scikit-learn's digits, 64 pixels as numbers. A perceptron ({MODEL['params']['hidden']}) learns 0 to 4 from",
        "all rows; its weights then begin one that learns 5 to 9 from a few rows of each class. All ways: 60 epochs,",
        f"batch 32, AdamW, rate 0.003 with warm-up, best epoch by {VALIDATION} rows a class. Accuracy on the rest of 5",
        f"to 9, mean (least to most) of {len(SEEDS)} seeds, which draw rows, weights and order.",
        "",
        f"| rows a class | {' | '.join(WAYS)} |",
        f"|--|{'--|' * len(WAYS)}",
    ]
    for rows in ROWS:
        cells = [[each[rows, way] for each in found] for way in WAYS]
        told = [f"{statistics.mean(cell):.3f} ({min(cell):.3f} to {max(cell):.3f})" for cell in cells]
        lines.append(f"| {rows} | {' | '.join(told)} |")
    write("transfer", lines)


if __name__ == "__main__":
    main()

"""What are another model's weights worth when there are few rows? Digits 0 to 4 are known, 5 to 9 are learned."""

import statistics
import sys
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from measured import write
from sklearn.datasets import load_digits

from raymle import Experiment, model, parents, tracking, train
from raymle.ancestry import Parent
from raymle.config import ModelConfig, TrainConfig
from raymle.records import Fitted, Splits
from raymle.store import open_store

ROWS, SEEDS, RATES = (3, 5, 20, 100), (0, 1, 2), (3e-3, 1e-2, 3e-2)
VALIDATION = 30
"""Rows of each class by which the best rate and epoch are chosen, the same for all."""
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


def fit(
    name: str, frame: pd.DataFrame, folder: Path, *, seed: int, parent: Parent | None = None, **given: Any
) -> Fitted:
    """Prepare a table, train on it at each rate, and return the best on validation."""
    fractions = {"train": 0.9, "validation": 0.1, "test": 0}
    split = {"method": "column", "by": "side"} if "side" in frame else {"fractions": fractions}
    splits = Experiment(name=name, data=frame, target="digit", split=split, storage=str(folder)).prepare()
    made = []
    for rate in RATES:
        optimizer = {"learning_rate": rate, "schedule": "warmup"}
        values = {"epochs": 60, "batch_size": 32, "seed": seed, "early_stopping": None, "optimizer": optimizer}
        config = TrainConfig.model_validate({**values, "pretrained": given})
        made.append(trained(config, splits, folder / "bundles" / f"{name} {rate}", parent))
    return max(made, key=lambda fitted: fitted.metrics["accuracy"])


def trained(config: TrainConfig, splits: Splits, out: Path, parent: Parent | None) -> Fitted:
    """Train one model to its last epoch."""
    epochs = train.fit(
        config, ModelConfig(**MODEL), splits, metric="accuracy", folder=str(out.parent), out=out, parent=parent
    )
    while True:
        try:
            next(epochs)
        except StopIteration as end:
            return end.value


def accuracy(fitted: Fitted, test: pd.DataFrame) -> float:
    """Return the share of rows that are told right."""
    loaded = model.load(fitted.bundle)
    told = np.array(loaded.schema.classes)[loaded.predict(pa.Table.from_pandas(test, preserve_index=False)).argmax(1)]
    return float((told == test["digit"].to_numpy()).mean())


def accuracies(folder: Path, seed: int) -> dict[tuple[int, str], float]:
    """Train the source, then each way with each number of rows; return the accuracies on rows that none has seen."""
    source = fit("known", tables(1, seed).source, folder, seed=seed)
    kept = parents.keep(
        tracking.MemoryRun("known"), open_store(str(folder)), parents.Found(Path(source.bundle)), "source"
    )
    found = {}
    for rows, (way, given) in product(ROWS, WAYS.items()):
        made, name = tables(rows, seed), f"{rows} {way.partition(':')[0]}"
        fitted = fit(name, made.few, folder, seed=seed, parent=kept if given else None, **given)
        found[rows, way] = accuracy(fitted, made.test)
        print(f"seed {seed}, {rows} rows, {way}: {found[rows, way]:.3f}", file=sys.stderr)
    return found


def main() -> None:
    """Measure and write the page."""
    with tempfile.TemporaryDirectory() as name:
        found = [accuracies(Path(name, str(seed)), seed) for seed in SEEDS]
    lines = [
        "# What another model's weights are worth when there are few rows",
        "",
        f"scikit-learn's digits, 64 pixels as numbers. A perceptron ({MODEL['params']['hidden']}) learns 0 to 4 from",
        "all rows; its weights then begin one that learns 5 to 9 from a few rows of each class. All ways: 60 epochs,",
        f"batch 32, AdamW with warm-up; the best of the rates {', '.join(map(str, RATES))} and the best epoch are",
        f"chosen for each by {VALIDATION} more rows a class. Accuracy on the rest of 5 to 9, mean (least to most) of",
        f"{len(SEEDS)} seeds, which draw rows, weights and order.",
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

"""What are another model's weights worth when there are few images? Digits 0 to 4 are known, 5 to 9 are learned."""

import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from measured import ROOT, trained, write

from raymle import Experiment, api, parents, tracking
from raymle.ancestry import Parent
from raymle.config import ModelConfig, TrainConfig
from raymle.records import Fitted
from raymle.store import open_store

QUICK = "--quick" in sys.argv
IMAGES, SEEDS, RATES = ((3, 20), (0,), (3e-3,)) if QUICK else ((3, 5, 20, 100), (0, 1, 2), (1e-3, 3e-3, 1e-2))
EPOCHS = 5 if QUICK else 60
VALIDATION = 30
"""Images of each class by which the best rate and epoch are chosen, the same for all."""
MODEL = {"type": "cnn", "params": {"filters": [32, 64, 64], "hidden": [128]}}
WAYS = {
    "scratch": {},
    "transfer: frozen convolutions": {"from": "source", "trainable": ["layers.*"]},
    "transfer: frozen but the last layer": {"from": "source", "trainable": ["layers.3"]},
    "fine-tune": {"from": "source", "layer_decay": 0.7},
}


@dataclass(frozen=True)
class Folders:
    """Images in a sub-folder for each class: all of the known, and of the new those to learn from and to test on."""

    source: Path
    few: Path
    """With the sub-folders train and validation."""
    test: Path


def folders(every: Path, made: Path, images: int, seed: int) -> Folders:
    """Copy the images to where they belong: the only place that knows what the data are."""
    found = Folders(made / "source", made / "few", made / "test")
    for digit in range(10):
        paths = sorted((every / str(digit)).iterdir())
        if digit < 5:
            shutil.copytree(every / str(digit), found.source / f"d{digit}")
            continue
        np.random.default_rng([seed, digit]).shuffle(paths)
        cuts = {found.few / "validation": paths[:VALIDATION], found.few / "train": paths[VALIDATION:][:images],
                found.test: paths[VALIDATION + max(IMAGES) :]}  # fmt: skip
        for folder, mine in cuts.items():
            (folder / f"d{digit}").mkdir(parents=True)
            for path in mine:
                shutil.copy(path, folder / f"d{digit}")
    return found


def fit(name: str, images: Path, folder: Path, *, seed: int, parent: Parent | None = None, **given: Any) -> Fitted:
    """Prepare a folder of images, train on it at each rate, and return the best on validation."""
    fractions = {"train": 0.9, "validation": 0.1, "test": 0}
    split = {"method": "column"} if (images / "train").exists() else {"fractions": fractions}
    splits = Experiment(name="digits", data=str(images), target="label", split=split, storage=str(folder)).prepare()
    made = []
    for rate in RATES:
        optimizer = {"learning_rate": rate, "schedule": "warmup"}
        values = {"epochs": EPOCHS, "batch_size": 32, "seed": seed, "early_stopping": None, "optimizer": optimizer}
        config = TrainConfig.model_validate({**values, "pretrained": given})
        out = folder / "bundles" / f"{name} {rate}"
        made.append(trained(config, ModelConfig(**MODEL), splits, metric="accuracy", out=out, parent=parent))
    return max(made, key=lambda fitted: fitted.metrics["accuracy"])


def accuracies(every: Path, folder: Path, seed: int) -> dict[tuple[int, str], float]:
    """Train the source, then each way with each number of images; return the accuracies on images that none has seen.

    The images to test on are the same whatever the number to learn from.
    """
    made = {images: folders(every, folder / f"{images} images", images, seed) for images in IMAGES}
    source = fit("known", made[IMAGES[0]].source, folder, seed=seed)
    kept = parents.keep(
        tracking.MemoryRun("known"), open_store(str(folder)), parents.Found(Path(source.bundle)), "source"
    )
    found = {}
    for images, (way, given) in product(IMAGES, WAYS.items()):
        name = f"{images} {way}"
        fitted = fit(name, made[images].few, folder, seed=seed, parent=kept if given else None, **given)
        found[images, way] = api.evaluate(fitted.bundle, str(made[images].test)).metrics["accuracy"]
        print(f"seed {seed}, {images} images, {way}: {found[images, way]:.3f}", file=sys.stderr)
    return found


def main() -> None:
    """Measure and write the page."""
    sys.path.insert(0, str(ROOT / "jobs/digits"))
    from data import build

    with tempfile.TemporaryDirectory() as name:
        every = Path(name, "digits")
        build(every)
        found = [accuracies(every, Path(name, str(seed)), seed) for seed in SEEDS]
    lines = [
        "# What another model's weights are worth when there are few images",
        "",
        "scikit-learn's digits as grey PNGs of 8 x 8 pixels. A cnn (convolutions of 32, 64 and 64 filters, a hidden",
        "layer of 128) learns 0 to 4 from all images; its weights then begin one that learns 5 to 9 from a few images",
        f"of each class. All ways: {EPOCHS} epochs, batch 32, AdamW with warm-up, images moved at random; the best of",
        f"the rates {', '.join(map(str, RATES))} and the best epoch are chosen for each by {VALIDATION} more images a",
        "class. Three poolings leave 64 numbers of such an image, which is all that frozen convolutions pass on.",
        "Accuracy on the rest of 5 to 9, the same for every number of images: mean (least to most) of",
        f"{len(SEEDS)} seeds, which draw images, weights and order.",
        "",
        f"| images a class | {' | '.join(WAYS)} |",
        f"|--|{'--|' * len(WAYS)}",
    ]
    for images in IMAGES:
        cells = [[each[images, way] for each in found] for way in WAYS]
        told = [f"{statistics.mean(cell):.3f} ({min(cell):.3f} to {max(cell):.3f})" for cell in cells]
        lines.append(f"| {images} | {' | '.join(told)} |")
    for way in [way for way in WAYS if way != "scratch"]:
        ahead = sum(each[images, way] > each[images, "scratch"] for each in found for images in IMAGES)
        lines += ["", f"{way[0].upper()}{way[1:]} is ahead of scratch in {ahead} of {len(found) * len(IMAGES)} pairs."]
    if QUICK:
        print("\n".join(lines))
    else:
        write("transfer", lines)


if __name__ == "__main__":
    main()

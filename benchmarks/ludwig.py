"""How long do images and texts take from files to a trained model, beside Ludwig? `ludwig.py path/to/ludwig`.

Ludwig needs a Python and packages of its own: `python3.12 -m venv there && there/bin/pip install ludwig`.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import yaml
from measured import ROOT, timed, write

LUDWIG = sys.argv[1] if len(sys.argv) > 1 else "ludwig"
TRAINER = {"learning_rate": 0.001, "early_stop": -1, "optimizer": {"type": "adamw"}}
FILTERS = (32, 64, 64)
WORDS = 33
"""That raymle takes of a sentence: 99 of 100 have no more."""


def digits(folder: Path) -> dict:
    """Write 19,767 grey digits of 32 x 32 pixels, a table of them, and what either is told."""
    build = maker("digits")
    build(folder / "digits", times=11, side=32)
    rows = [(str(path), path.parent.name) for path in sorted((folder / "digits").rglob("*.png"))]
    (folder / "digits.csv").write_text("image,label\n" + "".join(f"{path},d{label}\n" for path, label in rows))
    raymle = {"data": {"source": "digits", "target": "label"}, "train": {"epochs": 3, "batch_size": 128},
              "model": {"type": "cnn", "params": {"filters": list(FILTERS), "hidden": [128], "shift": 0}}}  # fmt: skip
    layers = [{"num_filters": each, "filter_size": 3, "pool_size": 2} for each in FILTERS]
    encoder = {"type": "stacked_cnn", "conv_layers": layers, "fc_layers": [{"output_size": 128}]}
    image = {"name": "image", "type": "image", "encoder": encoder}
    return {"raymle": raymle, "ludwig": ludwig(image, "label", epochs=3, batch=128), "table": "digits.csv",
            "what": f"{len(rows):,} digits, 32x32, grey; cnn 32-64-64, 3 epochs, batch 128"}  # fmt: skip


def sentences(folder: Path) -> dict:
    """Write the sentences of jobs/sentences, and what either is told."""
    build = maker("sentences")
    rows = build(folder / "sentences.parquet")
    table = pq.read_table(folder / "sentences.parquet", columns=["sentence", "package"])
    pyarrow.csv.write_csv(table, folder / "sentences.csv")
    raymle = {"data": {"source": "sentences.csv", "target": "package"}, "train": {"epochs": 5, "batch_size": 256},
              "model": {"type": "lstm", "params": {"width": 128, "hidden": [64]}}}  # fmt: skip
    encoder = {"type": "rnn", "cell_type": "lstm", "embedding_size": 64, "state_size": 128, "reduce_output": "mean",
               "fc_layers": [{"output_size": 64}]}  # fmt: skip
    preprocessing = {"max_sequence_length": WORDS, "most_common": 1 << 15}
    text = {"name": "sentence", "type": "text", "encoder": encoder, "preprocessing": preprocessing}
    return {"raymle": raymle, "ludwig": ludwig(text, "package", epochs=5, batch=256), "table": "sentences.csv",
            "what": f"{rows:,} sentences; lstm 128, 5 epochs, batch 256"}  # fmt: skip


def maker(job: str):
    """Import what makes a job's data."""
    sys.path.insert(0, str(ROOT / "jobs" / job))
    sys.modules.pop("data", None)
    from data import build

    sys.path.pop(0)
    return build


def ludwig(feature: dict, target: str, *, epochs: int, batch: int) -> dict:
    """Return Ludwig's configuration."""
    return {
        "input_features": [feature],
        "output_features": [{"name": target, "type": "category"}],
        "trainer": TRAINER | {"epochs": epochs, "batch_size": batch},
        "backend": {"type": "local"},
    }


def compared(made: dict, folder: Path) -> str:
    """Train with both, one after the other, each in a process of its own; return a row."""
    spec = {"name": "ludwig", **made["raymle"]}
    spec["train"] |= {"early_stopping": None}
    (folder / "raymle.yaml").write_text(yaml.safe_dump(spec))
    (folder / "ludwig.yaml").write_text(yaml.safe_dump(made["ludwig"]))
    started = time.perf_counter()
    words = [LUDWIG, "train", "--config", "ludwig.yaml", "--dataset", made["table"], "--output_directory", "theirs",
             "--skip_save_processed_input", "--logging_level", "error"]  # fmt: skip
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    theirs = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    ours = timed([sys.executable, "-m", "raymle", "train", "--json"], folder)
    told = json.loads(next(folder.glob("theirs/*/training_statistics.json")).read_text())["validation"]
    right = [ours["answer"]["metrics"]["validation"]["accuracy"], max(told[spec["data"]["target"]]["accuracy"])]
    ratio = theirs / ours["seconds"]
    return f"| {made['what']} | {ours['seconds']:.0f} | {theirs:.0f} | {ratio:.1f} | {right[0]:.3f} | {right[1]:.3f} |"


def main() -> None:
    rows = []
    for make in (digits, sentences):
        with tempfile.TemporaryDirectory() as name:
            rows.append(compared(make(Path(name)), Path(name)))
    write("ludwig", [
        "# Images and texts from files to a trained model, beside Ludwig",
        "",
        "Seconds of the whole process, one run each: read, split, train without early stopping, evaluate, report.",
        "The networks are alike, not the same: each has its own preprocessing, splits, regularisation and reports;",
        "accuracy is of each side's own validation rows, in its best epoch.",
        "",
        "| | raymle, s | Ludwig, s | Ludwig / raymle | accuracy, raymle | accuracy, Ludwig |",
        "|--|--|--|--|--|--|",
        *rows,
    ])  # fmt: skip


if __name__ == "__main__":
    main()

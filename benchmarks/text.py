"""Is training over texts as fast as a hand-written PyTorch loop, and the tokenizer as fast as scikit-learn's?"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measured import ROOT, median, passes, ratio, timed, write

from raymle.data import shards, tokens
from raymle.store import open_store

REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
BATCH = 256
EPOCHS = {"bag": 20, "lstm": 5}
MODELS = {
    "bag": "{type: mlp, params: {hidden: [64], dropout: 0}}",
    "lstm": "{type: lstm, params: {hidden: [64], dropout: 0}}",
}
RAYMLE = [sys.executable, "-m", "raymle", "train", "train.early_stopping=null", f"train.batch_size={BATCH}", "--json"]
PEER = [sys.executable, str(ROOT / "benchmarks/peers/text_pytorch.py"), "tokens.npz"]


def main() -> None:
    sys.path.insert(0, str(ROOT / "jobs/sentences"))
    from data import build

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "jobs/sentences/raymle.yaml", folder)
        build(folder / "sentences.parquet")
        texts = pq.read_table(folder / "sentences.parquet")["sentence"].to_pylist()
        lines = [line for kind in MODELS for line in compared(folder, kind)]
    ours, theirs = tokenized(texts)
    write("text", [
        "# Training over texts against a hand-written PyTorch loop, and hashed words against scikit-learn",
        "",
        f"jobs/sentences, {len(texts):,} texts; batch {BATCH}, AdamW over all weights, clipped gradients;",
        f"{REPEATS} interleaved runs, median (range). The peer gathers whole batches from tensors that are tokenised",
        "already; texts/s are those of the passes over the train texts. raymle's LSTM takes a batch by the lengths",
        "of its texts, the peer's reads all padding (`pack_padded_sequence` was slower on a CPU). The peer's process",
        "has nothing to prepare, evaluate, draw or record.",
        "",
        "| | raymle | hand-written | ratio | target |",
        "|--|--|--|--|--|",
        *lines,
        f"| texts to codes, texts/s | {median(ours)} | {median(theirs)} | {ratio(ours, theirs):.2f} | >= 1 |",
        "",
        "Texts to codes: words and pieces in their order; scikit-learn's `HashingVectorizer` to 2**15 counts.",
    ])  # fmt: skip


def compared(folder: Path, kind: str) -> list[str]:
    """Train both in turn; the peer has the codes that raymle prepared."""
    found: tuple[list[dict], list[dict]] = ([], [])
    ours = []
    for _ in range(REPEATS):
        found[0].append(timed([*RAYMLE, f"model={MODELS[kind]}", f"train.epochs={EPOCHS[kind]}"], folder))
        ours.append(passes(folder, found[0][-1]["answer"]))
        prepared(folder, next((folder / "runs/shards").iterdir()).name)
        found[1].append(timed([*PEER, kind, str(EPOCHS[kind]), str(BATCH)], folder))
    answers = [[run["answer"] for run in runs] for runs in found]
    whole = [[run["seconds"] for run in runs] for runs in found]
    theirs = [each["texts_per_second"] for each in answers[1]]
    quality = [answers[0][-1]["metrics"]["validation"]["accuracy"], answers[1][-1]["accuracy"]]
    return [
        f"| {kind}, texts/s | {median(ours)} | {median(theirs)} | {ratio(ours, theirs):.2f} | >= 0.95 |",
        f"| {kind}, whole process of {EPOCHS[kind]} epochs, s | {median(whole[0])} | {median(whole[1])} "
        f"| {ratio(*whole):.2f} | |",
        f"| {kind}, accuracy | {quality[0]:.3f} | {quality[1]:.3f} | {quality[0] - quality[1]:+.3f} | within 0.02 |",
    ]


def prepared(folder: Path, splits_id: str) -> None:
    """Write the peer's tokens."""
    splits = shards.find(open_store(str(folder / "runs")), splits_id)
    assert splits is not None
    sides = {side: shards.load(splits, side) for side in ("train", "validation")}
    arrays = {f"{side}_{name}": getattr(each, name) for side, each in sides.items() for name in ("codes", "target")}
    np.savez(folder / "tokens.npz", classes=len(splits.data_schema.classes), **arrays)


def tokenized(texts: list[str]) -> tuple[list[float], list[float]]:
    """Return texts a second, ours and scikit-learn's, in turn and each with one thread."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer, column = HashingVectorizer(n_features=1 << 15), pa.array(texts, pa.string())
    tokens.encode(column.slice(0, 10), length=64, vocabulary=1 << 15)
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for place, call in enumerate(
            (lambda: tokens.encode(column, length=64, vocabulary=1 << 15), lambda: vectorizer.transform(texts))
        ):
            started = time.perf_counter()
            call()
            found[place].append(len(texts) / (time.perf_counter() - started))
    return found


if __name__ == "__main__":
    main()

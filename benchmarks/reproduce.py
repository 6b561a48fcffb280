"""How many varied runs come out the same when they are made again, and what that costs against the run itself."""

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from measured import ROOT, timed, write

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
RAYMLE = [sys.executable, "-m", "raymle"]
MLP = "model={type: mlp, params: {hidden: [64], dropout: 0.0}}"
NUMBER = ["data.target=dep_delay", "data.drop=[late]", "evaluate={metric: rmse}", "promote={}"]
RUNS = {
    "mlp": ["train", MLP],
    "linear": ["train", "model={type: linear}"],
    "trees, bagged": ["train", "model={type: trees, params: {rounds: 100, bagging_fraction: 0.7}}"],
    "regression": ["train", MLP, *NUMBER],
    "regression by trees": ["train", "model={type: trees, params: {rounds: 100}}", *NUMBER],
    "dropout": ["train", "model={type: mlp, params: {hidden: [64, 32], dropout: 0.5}}"],
    "batch normalisation": ["train", "model={type: mlp, params: {hidden: [64], normalisation: batch}}"],
    "own code, edited since": ["train", "model={type: 'net:make'}", "train.loss=net:loss"],
    "two workers, DDP": ["train", MLP, "train.workers=2"],
    "winner of a search, ASHA": ["tune", "tune.trials=4"],
    "bf16": ["train", MLP, "train.precision=bf16"],
}  # fmt: skip
OWN = {
    "net.py": """
import torch
from torch.nn import functional
import helper

class Net(torch.nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(codes, 4) for codes in inputs.categories)
        self.last = torch.nn.Linear(inputs.numbers + 4 * len(inputs.categories), outputs)
    def forward(self, numbers, categories):
        embedded = [table(categories[:, place]) for place, table in enumerate(self.tables)]
        return self.last(torch.cat([numbers, *embedded], dim=1)) * helper.FACTOR

def make(inputs, outputs):
    return Net(inputs, outputs)

def loss(outputs, targets):
    return functional.cross_entropy(outputs, targets, reduction="none") * helper.FACTOR
""",
    "helper.py": "FACTOR = 2\n",
}


def measured(folder: Path, words: list[str]) -> dict:
    """Make a run, edit the code, and make the run again."""
    for name, text in OWN.items():
        (folder / name).write_text(text)
    run = timed([*RAYMLE, *words, "--json"], folder)["answer"]
    (folder / "helper.py").write_text("FACTOR = 3\n")
    found = timed([*RAYMLE, "reproduce", run["run_id"], "--json"], folder, codes=(0, 10))["answer"]
    told = {check["name"]: check["detail"] for check in found["checks"]}
    return {"run": run["seconds"]["total"], "again": found["seconds"], "verdict": found["verdict"], **told}


def main() -> None:
    sys.path.insert(0, str(ROOT / "jobs/flights"))
    from data import build

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "jobs/flights/raymle.yaml", folder)
        build(folder / "flights.parquet", rows=ROWS)
        found = {name: measured(folder, words) for name, words in RUNS.items()}
    passed = sum(each["verdict"] == "PASS" for each in found.values())
    one = [each["again"] / each["run"] for name, each in found.items() if "search" not in name]
    write("reproduce", [
        "# Do varied runs come out the same when they are made again?",
        "",
        f"flights, {ROWS:,} rows, 5 epochs; each run, then `raymle reproduce` of it; seconds without the start of the",
        "process. Of a search only the winner is made again.",
        "",
        "| run | verdict | weights | metrics | run, s | reproduce, s | ratio |",
        "|--|--|--|--|--|--|--|",
        *(
            f"| {name} | {each['verdict']} | {each['weights']} | {each['metrics']} | {each['run']:.1f} | "
            f"{each['again']:.1f} | {each['again'] / each['run']:.2f} |"
            for name, each in found.items()
        ),
        "",
        f"PASS: {passed} of {len(found)}. Reproduce takes {statistics.median(one):.2f} of the run's seconds (median of",
        f"single runs, {min(one):.2f} to {max(one):.2f}).",
    ])  # fmt: skip


if __name__ == "__main__":
    main()

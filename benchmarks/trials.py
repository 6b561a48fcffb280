"""How many trials a minute does `raymle tune` run, against Ray Tune as its guides write it and Optuna alone?"""

import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from measured import ROOT, median, timed, write

REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 2
TRIALS, NESTED = 64, 4
GROWTH = (10, 100, 1000)
PEERS = ROOT / "benchmarks/peers"
RAYMLE = str(Path(sys.executable).parent / "raymle")
SPEC = """
name: {name}
data: {{source: {name}.parquet, target: {target}, types: {{{types}}}}}
model: {{type: mlp, params: {{hidden: [{hidden}], dropout: 0.0}}}}
train: {{epochs: {epochs}, batch_size: {batch}, early_stopping: null}}
evaluate: {{metric: roc_auc}}
tune:
  trials: {trials}
  algorithm: random
  scheduler: none
  space:
    train.optimizer.learning_rate: {{loguniform: [1e-4, 1e-1]}}
    train.optimizer.weight_decay: {{loguniform: [1e-4, 1e-1]}}
    train.seed: {{int: [0, 9]}}
"""
DATA = {
    "cancer": {"target": "benign", "hidden": 32, "epochs": 10, "batch": 64, "types": ""},
    "flights": {"target": "late", "hidden": 64, "epochs": 5, "batch": 256, "types": ""},
}
WHO = ("raymle, stacked", "raymle, one by one", "Optuna alone", "Ray Tune by the guides")


def make(folder: Path) -> None:
    """Write both tables and their specs."""
    import pyarrow.parquet as pq
    from sklearn.datasets import load_breast_cancer

    sys.path.insert(0, str(ROOT / "jobs/flights"))
    from data import build

    frame = load_breast_cancer(as_frame=True).frame.rename(columns=lambda name: name.replace(" ", "_"))
    frame["benign"] = frame.pop("target").map({0: "no", 1: "yes"})
    frame.to_parquet(folder / "cancer.parquet", index=False)
    build(folder / "flights.parquet", rows=20_000)
    table = pq.read_table(folder / "flights.parquet").drop_columns(["time_hour", "tailnum", "flight"])
    pq.write_table(table, folder / "flights.parquet")
    for name, about in DATA.items():
        (folder / f"{name}.yaml").write_text(SPEC.format(name=name, trials=TRIALS, **about))


def peer(mode: str, name: str, trials: int) -> list[str]:
    about = DATA[name]
    numbers = [str(each) for each in (trials, about["epochs"], about["batch"], about["hidden"])]
    return [sys.executable, str(PEERS / "trials_peer.py"), mode, f"{name}.parquet", about["target"], *numbers]


def commands(name: str, folder: Path) -> dict[str, list[str]]:
    tune = [RAYMLE, "tune", f"{name}.yaml", "--json"]
    return {
        WHO[0]: tune,
        WHO[1]: [*tune, "tune.fuse=false"],
        WHO[2]: peer("optuna", name, TRIALS),
        WHO[3]: [*peer("tune", name, TRIALS), str(folder / "tune")],
    }


def run(argv: list[str], folder: Path) -> dict:
    found = timed(argv, folder)
    for left in ("runs", "tune"):
        shutil.rmtree(folder / left, ignore_errors=True)
    return found


def rate(runs: list[dict]) -> list[float]:
    """Trials a minute, over the whole process."""
    return [60 * TRIALS / each["seconds"] for each in runs]


def compared(name: str, folder: Path) -> list[str]:
    """Run everybody in turn; return the table's rows."""
    todo = commands(name, folder)
    found: dict[str, list[dict]] = {who: [] for who in todo}
    for _ in range(REPEATS):
        for who, argv in todo.items():
            found[who].append(run(argv, folder))
            print(name, who, f"{found[who][-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
    ours = statistics.median(rate(found[WHO[0]]))
    rows = []
    for who, runs in found.items():
        search = [
            each["answer"]["search"] if "search" in each["answer"] else each["answer"]["study"]["seconds"]
            for each in runs
        ]
        share = ours / statistics.median(rate(runs))
        rows.append(f"| {name} | {who} | {median(rate(runs))} | {median(search)} | {share:.2f} |")
    return rows


def growth(folder: Path) -> list[str]:
    """Seconds that one trial takes when there are more of them: an epoch of a table of 569 rows."""
    rows = []
    for trials in GROWTH:
        seconds = []
        for fuse in ("true", "false"):
            words = [f"tune.trials={trials}", "train.epochs=1", f"tune.fuse={fuse}"]
            found = run([RAYMLE, "tune", "cancer.yaml", "--json", *words], folder)
            seconds.append(found["answer"]["study"]["seconds"])
            print(trials, fuse, seconds[-1], file=sys.stderr, flush=True)
        each = " | ".join(f"{one:.1f} | {1000 * one / trials:.0f}" for one in seconds)
        rows.append(f"| {trials:,} | {each} |")
    return rows


def main() -> None:
    os.environ["RAY_AUTH_MODE"] = "token"
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="bt") as place:
        folder = Path(place)
        make(folder)
        table = [row for name in DATA for row in compared(name, folder)]
        nested = run(
            [
                sys.executable,
                str(PEERS / "trials_nested.py"),
                *peer("tune", "cancer", NESTED)[2:],
                str(folder / "tune"),
            ],
            folder,
        )
        more = growth(folder)
    write("trials", [
        "# Trials a minute",
        "",
        f"{TRIALS} trials of one small MLP: breast cancer (569 rows, 32 hidden, 10 epochs, batch 64) and 20,000",
        "flights (64 hidden, embeddings, 5 epochs, batch 256). Everybody draws learning rate, weight decay and seed at",
        "random and runs every epoch. Ray Tune runs a function trainable that reads the table, as guides do; Optuna",
        f"runs the same loop in one process, in memory. {REPEATS} interleaved runs, median (range).",
        "raymle also prepares and seals, keeps each trial's bundle, tracks each trial's epochs in MLflow, writes the",
        "study's page and evaluates the winner.",
        "",
        "| table | who | trials a minute, whole process | the search alone, s | raymle, stacked, is faster by |",
        "|--|--|--|--|--|",
        *table,
        "",
        f"For reference: {NESTED} trials on breast cancer, each with a `TorchTrainer` of its own (one worker), take "
        f"{nested['seconds']:.0f} s: {60 * NESTED / nested['seconds']:.1f} trials a minute.",
        "",
        "Seconds of the search when there are more trials, of one epoch each, on breast cancer:",
        "",
        "| trials | stacked, s | ms each | one by one, s | ms each |",
        "|--|--|--|--|--|",
        *more,
    ])  # fmt: skip


if __name__ == "__main__":
    main()

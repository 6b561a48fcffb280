"""Does TPE with ASHA find better settings than random search, at equal trials and at equal seconds?

Every point of a grid of settings is trained once; the searches then replay those learning curves with many seeds.
"""

import json
import statistics
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import optuna
from measured import RESULTS, ROOT, write

from raymle import Experiment, train
from raymle.config import ModelConfig, TrainConfig, TuneConfig
from raymle.tune import space
from raymle.tune.halving import Halving
from raymle.tune.samplers import sampler
from raymle.tune.space import suggest

SEEDS, TRIALS, EPOCHS = 20, 30, 9
CURVES = RESULTS / "search_quality.json"
AXES = {
    "model.hidden": [[16], [64], [128, 64]],
    "model.activation": ["relu", "sigmoid"],
    "train.rate": [10 ** (-4 + step / 4) for step in range(13)],
    "train.decay": [1e-4, 1e-2, 1.0],
}
SPACE = space.parse({
    "model.hidden": {"int": [0, 2]},
    "model.activation": {"choice": ["relu", "sigmoid"]},
    "train.rate": {"int": [0, 12]},
    "train.decay": {"int": [0, 2]},
})  # fmt: skip
SEARCHES = {
    "random": ("random", False),
    "random + ASHA": ("random", True),
    "TPE": ("tpe", False),
    "TPE + ASHA": ("tpe", True),
}


def curves() -> dict:
    """Train every point of the grid in stacks, or read what was trained before."""
    if CURVES.exists():
        return json.loads(CURVES.read_text())
    sys.path.insert(0, str(ROOT / "jobs/flights"))
    from data import build

    found, started = {}, time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        build(Path(name, "flights.parquet"), rows=20_000)
        drop = ["time_hour", "tailnum", "flight"]
        experiment = Experiment(
            name="q", data=str(Path(name, "flights.parquet")), target="late", drop=drop, storage=str(Path(name, "runs"))
        )
        splits = experiment.prepare()
        for hidden, activation in product(range(3), AXES["model.activation"]):
            params = {"hidden": AXES["model.hidden"][hidden], "activation": activation, "dropout": 0.0}
            points = list(product(range(13), range(3)))
            members = [member(params, rate, decay, Path(name)) for rate, decay in points]
            scores = [[] for _ in points]
            for told in train.fit_stack(members, splits, metric="roc_auc", folder=name):
                for place, epoch in told.reports.items():
                    scores[place].append(round(epoch.metrics["roc_auc"], 5))
            for (rate, decay), curve in zip(points, scores, strict=True):
                found[f"{hidden} {activation} {rate} {decay}"] = curve
            print(f"{len(found)} curves after {time.perf_counter() - started:.0f} s", file=sys.stderr)
    CURVES.write_text(json.dumps(found, indent=0))
    return found


def member(params: dict, rate: int, decay: int, folder: Path) -> train.Member:
    """Make one training of a stack."""
    optimizer = {"learning_rate": AXES["train.rate"][rate], "weight_decay": AXES["train.decay"][decay]}
    values = {"epochs": EPOCHS, "batch_size": 256, "early_stopping": None, "optimizer": optimizer}
    out = folder / f"{params['hidden']}-{params['activation']}-{rate}-{decay}"
    return train.Member(TrainConfig.model_validate(values), ModelConfig(type="mlp", params=params), out)


def search(table: dict, algorithm: str, seed: int, *, asha: bool, epochs: int | None = None) -> tuple[float, int, int]:
    """Replay one search; return its best score, the epochs it ran, and those it did not run.

    Args:
        table: The learning curves.
        algorithm: Who proposes.
        seed: Of the proposals.
        asha: Whether ASHA stops bad trials.
        epochs: Budget; None gives every search as many trials.
    """
    config = TuneConfig(algorithm=algorithm, trials=TRIALS, seed=seed)
    study = optuna.create_study(direction="maximize")
    rule, best, ran, saved, number = Halving("max", EPOCHS), 0.0, 0, 0, 0
    while (number < TRIALS) if epochs is None else (ran < epochs):
        study.sampler = sampler(config, number)
        trial = study.ask()
        values = suggest(trial, SPACE)
        curve = table[" ".join(str(values[path]) for path in SPACE)]
        so_far, is_stopped = 0.0, False
        for epoch, score in enumerate(curve, 1):
            so_far, ran = max(so_far, score), ran + 1
            trial.report(score, epoch)
            if asha and not rule.hear(str(number), epoch, so_far) and epoch < EPOCHS:
                is_stopped, saved = True, saved + EPOCHS - epoch
                break
        best, number = max(best, so_far), number + 1
        if is_stopped:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, so_far)
    return best, ran, saved


def row(name: str, results: list[tuple[float, int, int]], top: float) -> str:
    """Sum many seeds up: how far from the best point of the grid, in thousandths."""
    misses = sorted(1000 * (top - best) for best, _, _ in results)
    low, middle, high = (statistics.quantiles(misses, n=4)[place] for place in range(3))
    hits = sum(miss < 1 for miss in misses)
    ran, saved = (statistics.mean(each[place] for each in results) for place in (1, 2))
    share = 100 * saved / (ran + saved)
    return f"| {name} | {middle:.2f} ({low:.2f} to {high:.2f}) | {hits} of {SEEDS} | {ran:.0f} | {share:.0f} % |"


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = curves()
    top = max(max(curve) for curve in table.values())
    budget = TRIALS * EPOCHS // 3
    head = ["| search | AUC missed, thousandths | within 0.001 | epochs run | saved |", "|--|--|--|--|--|"]
    pages = []
    for epochs in (None, budget):
        rows = [
            row(name, [search(table, algorithm, seed, asha=asha, epochs=epochs) for seed in range(SEEDS)], top)
            for name, (algorithm, asha) in SEARCHES.items()
        ]
        pages.append([*head, *rows])
    write("search_quality", [
        "# What a search finds",
        "",
        f"{len(table)} settings of an MLP on 20,000 flights (hidden layers, activation, learning rate, weight decay),",
        f"each trained {EPOCHS} epochs once; the best validation AUC among them is {top:.4f}. Searches replay those",
        f"learning curves one trial after another, {SEEDS} seeds each: median and quartiles of what their best misses.",
        "",
        f"Equal trials: {TRIALS} each.",
        "",
        *pages[0],
        "",
        f"Equal seconds: {budget} epochs each, a third of what {TRIALS} whole trials take.",
        "",
        *pages[1],
    ])  # fmt: skip


if __name__ == "__main__":
    main()

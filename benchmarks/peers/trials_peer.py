"""Hand-written peers of a search: `trials_peer.py optuna|tune FILE TARGET TRIALS EPOCHS BATCH HIDDEN`.

Both draw learning rate, weight decay and seed at random and train the same network with the same loop. `optuna` runs
the trials one after another in this process; `tune` is a function trainable as the guides of Ray Tune write one.
Prints one JSON line.
"""

import json
import sys
import time
from pathlib import Path

START = time.perf_counter()
MODE, TARGET = sys.argv[1], sys.argv[3]
FILE = str(Path(sys.argv[2]).resolve())  # trials run in folders of their own
TRIALS, EPOCHS, BATCH, HIDDEN = map(int, sys.argv[4:8])
LEAST_CODES = 2


def prepare():
    """Read the table, split it, standardise numbers, number categories."""
    import numpy as np
    import pandas as pd
    import torch

    frame = pd.read_parquet(FILE)
    side = np.random.default_rng(0).choice(3, len(frame), p=[0.8, 0.1, 0.1])
    names = [name for name in frame.columns if name != TARGET]
    numbers = [name for name in names if frame[name].dtype.kind in "if"]
    kept = frame[side == 0]
    mean, std = kept[numbers].mean(), kept[numbers].std()
    maps = {
        name: {value: code + 1 for code, value in enumerate(sorted(kept[name].unique()))}
        for name in names
        if name not in numbers
    }

    def encode(part):
        codes = [part[name].map(found).fillna(0).to_numpy(np.int64) for name, found in maps.items()]
        return (
            torch.from_numpy(((part[numbers] - mean) / std).fillna(0).to_numpy(np.float32)),
            torch.from_numpy(np.stack(codes, 1) if codes else np.zeros((len(part), 0), np.int64)),
            torch.from_numpy((part[TARGET] == frame[TARGET].max()).to_numpy(np.int64)),
        )

    return encode(kept), encode(frame[side == 1]), [len(found) + 1 for found in maps.values()]


def train(data, rate, decay, seed):
    """Yield the validation AUC after each epoch."""
    import numpy as np
    import torch
    from sklearn.metrics import roc_auc_score
    from torch import nn

    (numbers, codes, target), (v_numbers, v_codes, v_target), sizes = data
    torch.manual_seed(seed)
    widths = [min(50, int(np.ceil(1.6 * size**0.56))) for size in sizes]
    tables = nn.ModuleList(nn.Embedding(size, width) for size, width in zip(sizes, widths, strict=True))
    layers = nn.Sequential(nn.Linear(numbers.shape[1] + sum(widths), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2))
    weights = [*tables.parameters(), *layers.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=True)
    loss_of = nn.CrossEntropyLoss()

    def forward(rows, names):
        return layers(torch.cat([rows, *(table(names[:, place]) for place, table in enumerate(tables))], 1))

    for epoch in range(EPOCHS):
        order = torch.randperm(len(target), generator=torch.Generator().manual_seed(seed * 1000 + epoch))
        for rows in order.split(BATCH):
            optimizer.zero_grad()
            loss_of(forward(numbers[rows], codes[rows]), target[rows]).backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
        with torch.inference_mode():
            score = forward(v_numbers, v_codes).softmax(1)[:, 1]
        yield float(roc_auc_score(v_target, score))


def by_optuna():
    """Run the trials in this process."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    data = prepare()
    started = time.perf_counter()

    def objective(trial):
        rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
        decay = trial.suggest_float("decay", 1e-4, 1e-1, log=True)
        return max(train(data, rate, decay, trial.suggest_int("seed", 0, 9)))

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
    study.optimize(objective, n_trials=TRIALS)
    return study.best_value, time.perf_counter() - started


def by_tune():
    """Run the trials as Ray Tune's guides do."""
    import ray
    from ray import tune

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    started = time.perf_counter()

    def trial(config):
        for score in train(prepare(), config["rate"], config["decay"], config["seed"]):
            tune.report({"score": score})

    space = {"rate": tune.loguniform(1e-4, 1e-1), "decay": tune.loguniform(1e-4, 1e-1), "seed": tune.randint(0, 10)}
    tuner = tune.Tuner(
        trial,
        param_space=space,
        tune_config=tune.TuneConfig(metric="score", mode="max", num_samples=TRIALS),
        run_config=tune.RunConfig(verbose=0, storage_path=sys.argv[8]),
    )
    best = tuner.fit().get_best_result(scope="all").metrics["score"]
    return best, time.perf_counter() - started


if __name__ == "__main__":
    best, seconds = by_optuna() if MODE == "optuna" else by_tune()
    print(json.dumps({"best": best, "search": seconds, "seconds": time.perf_counter() - START}))

"""A trainer of Ray Train in each trial: `trials_nested.py tune FILE TARGET TRIALS EPOCHS BATCH HIDDEN FOLDER`."""

import json
import sys
import time

import ray
import ray.train.torch
import trials_peer
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback
from trials_peer import START, TRIALS, prepare, train

FOLDER = sys.argv[8]


def loop(config):
    for score in train(prepare(), config["rate"], config["decay"], config["seed"]):
        ray.train.report({"score": score})


def trial(config):
    ray.train.torch.TorchTrainer(
        loop,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(num_workers=1),
        run_config=ray.train.RunConfig(
            name=f"train-{tune.get_context().get_trial_id()}",
            storage_path=f"{FOLDER}/train",
            callbacks=[TuneReportCallback()],
        ),
    ).fit()


if __name__ == "__main__":
    ray.cloudpickle.register_pickle_by_value(trials_peer)  # workers do not find this folder
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    space = {"rate": tune.loguniform(1e-4, 1e-1), "decay": tune.loguniform(1e-4, 1e-1), "seed": tune.randint(0, 10)}
    started = time.perf_counter()
    told, sys.stdout = sys.stdout, sys.stderr  # what Ray prints is no part of the answer
    found = tune.Tuner(
        tune.with_resources(trial, {"CPU": 0.01}),
        param_space=space,
        tune_config=tune.TuneConfig(metric="score", mode="max", num_samples=TRIALS, max_concurrent_trials=1),
        run_config=tune.RunConfig(verbose=0, storage_path=f"{FOLDER}/tune"),
    ).fit()
    if found.errors:
        raise found.errors[0]
    print(json.dumps({"search": time.perf_counter() - started, "seconds": time.perf_counter() - START}), file=told)

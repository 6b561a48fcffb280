"""Who proposes the next trial: Optuna's samplers, each seeded by the trial's number.

A sampler that is made anew for every trial has no state of its own: a study that is killed and goes on proposes
what it would have proposed.
"""

import warnings
from typing import TYPE_CHECKING

import numpy as np

from raymle.config import TuneConfig

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

SEVERAL = ("random", "grid", "tpe", "nsga2")
"""Algorithms that take more than one objective."""
PICKLING = ("cmaes",)
"""Algorithms whose sampler keeps its state as a pickle in the storage: it is never read by another session."""
FEWEST_STARTS, MOST_STARTS = 4, 10


def sampler(config: TuneConfig, number: int) -> "BaseSampler":
    """Return who proposes trial ``number``, counted from 0."""
    from optuna import samplers
    from optuna.exceptions import ExperimentalWarning

    seed = int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0])
    starts = max(FEWEST_STARTS, min(MOST_STARTS, config.trials // 3))
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        match config.algorithm:
            case "tpe":  # groups for conditional ranges; a constant liar because trials run side by side
                return samplers.TPESampler(
                    seed=seed, n_startup_trials=starts, multivariate=True, group=True, constant_liar=True
                )
            case "gp":
                return samplers.GPSampler(seed=seed, n_startup_trials=starts, deterministic_objective=False)
            case "cmaes":
                return samplers.CmaEsSampler(
                    seed=seed, n_startup_trials=starts, warn_independent_sampling=False, consider_pruned_trials=True
                )
            case "nsga2":
                return samplers.NSGAIISampler(seed=seed, population_size=max(FEWEST_STARTS, config.trials // 4))
            case _:
                return samplers.RandomSampler(seed=seed)

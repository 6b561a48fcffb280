"""Who stops a bad trial early: Ray Tune's schedulers, and ASHA by the rule that stacks follow too."""

import random
from collections.abc import Callable
from typing import Any, final

from ray.tune.schedulers import (
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.schedulers.pbt import _PBTTrialState

from raymle.config import TuneConfig
from raymle.tune.halving import Halving

GENERATIONS = 5
"""How often the worst of a population take over from the best."""
QUANTILE = 0.25
Exploit = Callable[[str, str], dict[str, Any]]
"""Makes the config of Tune's trial that goes on from another one, by their ids."""


@final
class Asha(FIFOScheduler):
    """Asynchronous successive halving, by the study's own rule."""

    def __init__(self, halving: Halving) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._halving = halving

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002  Ray's
        """Stop a trial that is not among the best of its rung."""
        told = next((each for each in result["members"] if "report" in each), None)
        if told is None or result.get("done"):
            return TrialScheduler.CONTINUE
        goes_on = self._halving.hear(told["run_id"], result["epoch"], result["score"])
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP


@final
class Population(PopulationBasedTraining):
    """Population based training over proposals of the study (Jaderberg and others 2017)."""

    def __init__(self, exploit: Exploit, seed: int, most_epochs: int, **settings: Any) -> None:
        super().__init__(custom_explore_fn=lambda config: config, log_config=False, **settings)
        self._make_config, self._most_epochs = exploit, most_epochs
        random.seed(seed)  # Ray draws who is cloned from Python's own numbers

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002  Ray's signature
        """Take a trial; Ray's own version refuses one that a searcher proposes."""
        self._trial_state[trial] = _PBTTrialState(trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Let a trial that has one epoch or more left take over from a better one."""
        if result["epoch"] >= self._most_epochs:
            return TrialScheduler.CONTINUE
        return super().on_trial_result(tune_controller, trial, result)

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._make_config(trial.trial_id, trial_to_clone.trial_id), {}


def scheduler(
    config: TuneConfig, *, is_maximised: bool, most_epochs: int, halving: Halving | None, exploit: Exploit
) -> TrialScheduler | None:
    """Return who stops a bad trial early; a trial of one epoch has no early."""
    if most_epochs < 2:
        return None
    common: dict[str, Any] = {"time_attr": "epoch", "metric": "score", "mode": "max" if is_maximised else "min"}
    match config.scheduler:
        case "asha":
            assert halving is not None
            return Asha(halving)
        case "hyperband":
            return HyperBandScheduler(max_t=most_epochs, reduction_factor=3, **common)
        case "median":
            common["min_time_slice"] = float("inf")  # it would pause trials to let others catch up
            return MedianStoppingRule(grace_period=1, min_samples_required=3, hard_stop=True, **common)
        case "pbt":
            every = max(1, most_epochs // GENERATIONS)
            common |= {"perturbation_interval": every, "quantile_fraction": QUANTILE}
            return Population(exploit, config.seed, most_epochs, **common)
        case _:
            return None

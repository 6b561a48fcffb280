"""Asynchronous successive halving (Li and others 2018, "A System for Massively Parallel Hyperparameter Tuning").

The same decisions as ``ray.tune.schedulers.ASHAScheduler`` with one bracket takes, for trials of their own and for
those in a stack; and it can be told what earlier sessions of a study reported.
"""

import math
from typing import final

import numpy as np

FACTOR = 3
"""One of so many trials goes on from each rung to the next."""


@final
class Halving:
    """Rungs of epochs, and what each trial had come to when it reached them."""

    def __init__(self, *, is_maximised: bool, most_epochs: int) -> None:
        """Make the rungs: 1, 3, 9 and so on.

        Args:
            is_maximised: Whether a higher score is better.
            most_epochs: Of the longest trial; its last epoch is no rung, for a trial that got there is finished.
        """
        count = int(math.log(max(1, most_epochs - 1), FACTOR) + 1e-9) + 1 if most_epochs > 1 else 0
        self._sign = 1.0 if is_maximised else -1.0
        self._rungs: dict[int, dict[str, float]] = {FACTOR**place: {} for place in reversed(range(count))}

    def hear(self, trial: str, epoch: int, score: float) -> bool:
        """Take a trial's score after an epoch; return whether it goes on.

        A trial is judged once at each rung, by those that got there before it.
        """
        for rung, scores in self._rungs.items():
            if epoch < rung:
                continue
            if trial in scores:
                break
            rank = self._sign * score
            known = [each for each in scores.values() if not math.isnan(each)]
            scores[trial] = rank
            return not known or not rank < float(np.percentile(known, 100 * (1 - 1 / FACTOR)))
        return True

"""Asynchronous successive halving (ASHA: Li et al., MLSys 2020): who may go on, decided as reports come in.

At each rung, 1, 3, 9, ... epochs, a trial goes on if its score is among the best third of those that were there
before it. The decisions are those of Ray Tune's ASHAScheduler with one bracket and ``stop_last_trials=False``.
"""

from typing import Literal, final

import numpy as np


@final
class Halving:
    """The rungs, and who reached them with which score."""

    def __init__(
        self, mode: Literal["max", "min"], most_epochs: int, *, reduction_factor: float = 3, grace: int = 1
    ) -> None:
        """Set the rungs up.

        Args:
            mode: Whether a higher score is better, or a lower one.
            most_epochs: Epochs of the longest trial; the last is no rung, for a trial that got there is finished.
            reduction_factor: One in so many goes on; each rung is so many times as far as the one before.
            grace: Epochs of the first rung; nobody is stopped before.
        """
        self._sign = 1 if mode == "max" else -1
        self._share = 100 * (1 - 1 / reduction_factor)
        count = 0
        if most_epochs > grace:
            span = np.log((most_epochs - 1) / grace) / np.log(reduction_factor)
            count = int(span + 1)  # as Ray rounds it: of 244 epochs, the 243rd is no rung
        self._rungs: list[tuple[float, dict[str, float]]] = [
            (grace * reduction_factor**place, {}) for place in reversed(range(count))
        ]

    def hear(self, trial: str, epoch: int, score: float) -> bool:
        """Take a trial's score and say whether it goes on; the score counts once at each rung, and never if NaN."""
        scores = next((scores for rung, scores in self._rungs if epoch >= rung), None)
        if scores is None or trial in scores:
            return True
        before = [each for each in scores.values() if not np.isnan(each)]
        scores[trial] = self._sign * score
        return not before or not scores[trial] < np.percentile(before, self._share)

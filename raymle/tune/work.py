"""What all trials of a study share, as plain values that travel to their actors."""

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raymle.ancestry import Parent
from raymle.config import Spec
from raymle.data import shards
from raymle.errors import WorkError
from raymle.records import Epoch, Fitted, Splits
from raymle.store import Store, open_store
from raymle.tune.check import trial_spec

Epochs = Generator[Epoch, Any, Fitted]
Fit = Callable[..., Epochs]


@dataclass(frozen=True)
class Work:
    """A study's data and settings."""

    spec: Spec
    splits: Splits
    metric: str
    is_maximised: bool
    fit: Fit
    most_epochs: int = 1
    """Of the longest trial."""
    pauses: bool = False
    """Whether the scheduler pauses trials, so that each needs a checkpoint to go on from."""
    parent: Parent | None = None
    """Where the first weights of trials come from that do not start from scratch."""

    @property
    def store(self) -> Store:
        """Where the bundles go."""
        return open_store(self.spec.storage)

    def varied(self, values: Mapping[str, Any]) -> Spec:
        """Return the spec of one trial."""
        return trial_spec(self.spec, values, self.splits.rows["train"])

    def out(self, run_id: str) -> Path:
        """Return where a trial's bundle appears."""
        return self.store.root / "runs" / run_id / "bundle"

    def stacks(self, run_id: str) -> Path:
        """Return where a trial that hangs leaves its stacks."""
        return self.store.root / "runs" / run_id / "stacks" / "trial.txt"

    def start(self, run_id: str, spec: Spec) -> Epochs:
        """Start or go on with the training of one trial; its bundle goes to the trial's run."""
        store = self.store
        store.remove(f"runs/{run_id}/bundle")  # of a trial that was killed at its end
        more = {"parent": self.parent} if spec.train.pretrained.source else {}
        fitted = yield from self.fit(
            spec.train,
            spec.model,
            shards.here(self.splits, spec.storage),
            metric=self.metric,
            folder=spec.folder,
            storage=spec.storage,
            run=run_id,
            out=self.out(run_id),
            transforms=spec.data.transforms,
            **more,
        )
        store.publish(f"runs/{run_id}/bundle")
        return fitted

    def score(self, best: float, epoch: Epoch) -> float:
        """Return the better of the best so far and an epoch's score; NaN is worse than any.

        Raises:
            WorkError: the training does not report what decides.
        """
        if self.metric not in epoch.metrics:
            known = ", ".join(sorted(epoch.metrics))
            raise WorkError(f"the training reports {known}, but not {self.metric}, which decides")
        new = epoch.metrics[self.metric]
        if math.isnan(best) or math.isnan(new):
            return new if math.isnan(best) else best
        return max(best, new) if self.is_maximised else min(best, new)

"""One trial at a time in a Ray actor that lives as long as the study: nothing is imported or loaded twice."""

import json
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune import Trainable

from raymle import loader
from raymle.config import Spec
from raymle.data import shards
from raymle.errors import RaymleError, WorkError
from raymle.records import Epoch, Fitted, Splits
from raymle.store import open_store

FITTED = "fitted.json"
STOP = True
"""Sent to the training: keep the best weights and return."""
Epochs = Generator[Epoch, Any, Fitted]


@dataclass(frozen=True)
class Task:
    """What all trials of a study share."""

    spec: Spec
    splits: Splits
    metric: str
    is_maximised: bool
    fit: Callable[..., Epochs]

    def start(self, run_id: str, values: str) -> Epochs:
        """Start the training of one trial; its bundle goes to the trial's run."""
        spec = loader.override(self.spec, json.loads(values))
        store = open_store(spec.storage)
        fitted = yield from self.fit(
            spec.train,
            spec.model,
            shards.here(self.splits, spec.storage),
            metric=self.metric,
            folder=spec.folder,
            out=store.root / "runs" / run_id / "bundle",
            transforms=spec.data.transforms,
        )
        store.publish(f"runs/{run_id}/bundle")
        return fitted

    def better(self, old: float, new: float) -> float:
        """Return the better of the best so far and a new score; NaN is worse than any."""
        if math.isnan(old) or math.isnan(new):
            return new if math.isnan(old) else old
        return max(old, new) if self.is_maximised else min(old, new)


class Trial(Trainable):
    """Drives ``train.fit`` one epoch a step, so that a scheduler can stop it between two."""

    def setup(self, config: dict[str, Any], *, task: Task) -> None:  # type: ignore[override]
        """Take the task from ``with_parameters``, once in the life of the actor, and the first trial."""
        self._task = task
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial's settings; its training starts with its first step."""
        self._epochs = self._task.start(new_config["run_id"], new_config["values"])
        self._best = math.nan
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch. A failure is an answer too, so that the actor survives it."""
        try:
            return self._epoch()
        except StopIteration as end:
            return {"done": True, "score": self._best, "fitted": end.value.model_dump()}
        except RaymleError as error:
            return self._failed(str(error))
        except Exception as error:  # noqa: BLE001  the user's model may raise anything
            return self._failed(f"{type(error).__name__}: {error}")

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Keep the best weights of a trial that the scheduler stops: it may be the winner all the same."""
        Path(checkpoint_dir, FITTED).write_text(json.dumps(self._stop().model_dump()))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing: a trial is one attempt, and never starts in the middle."""

    def cleanup(self) -> None:
        """Let go of the last trial's arrays."""
        self._epochs.close()

    def _epoch(self) -> dict[str, Any]:
        epoch = next(self._epochs)
        if self._task.metric not in epoch.metrics:
            known = ", ".join(sorted(epoch.metrics))
            raise WorkError(f"the training reports {known}, but not {self._task.metric}, which decides")
        self._best = self._task.better(self._best, epoch.metrics[self._task.metric])
        return {"score": self._best, "epoch": epoch.epoch, "report": epoch.model_dump()}

    def _failed(self, reason: str) -> dict[str, Any]:
        self._epochs.close()
        return {"done": True, "score": math.nan, "reason": reason}

    def _stop(self) -> Fitted:
        while True:
            try:
                self._epochs.send(STOP)
            except StopIteration as end:
                fitted: Fitted = end.value
                return fitted

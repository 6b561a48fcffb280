"""A Ray actor that lives as long as the study and trains one trial after another: nothing is imported twice."""

import json
from pathlib import Path
from typing import Any, Protocol

from ray.tune import Trainable

from raymle import train
from raymle.train.watch import EpochWatch
from raymle.tune.alone import Alone
from raymle.tune.work import Work

LEFT = "left.json"


class Part(Protocol):
    """What one of Tune's trials trains: an attempt, or several in a stack."""

    def step(self) -> dict[str, Any]:
        """Train one epoch; return what Tune looks at, and what is told of each attempt under ``members``."""

    def leave(self) -> dict[str, Any]:
        """End early with the best weights, or keep the state, and return what the driver must know of it."""

    def enter(self, left: dict[str, Any]) -> None:
        """Go on from what ``leave`` returned, in this trial or another."""

    def close(self) -> None:
        """Let go of the arrays."""


class Trial(Trainable):
    """Drives a training one epoch a step, so that a scheduler can stop it between two."""

    def setup(self, config: dict[str, Any], *, work: Work) -> None:  # type: ignore[override]
        """Take what all trials share from ``with_parameters``, once in the life of the actor, and the first trial."""
        self._work = work
        self._watch = EpochWatch(work.spec.train.step_timeout)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial; its training starts with its first step."""
        members = json.loads(new_config["members"])
        self._stacks = self._work.stacks(members[0]["run_id"])
        self._part: Part
        if len(members) == 1:
            self._part = Alone(self._work, **members[0])
        else:
            from raymle.tune.stack import Stack

            self._part = Stack(self._work, members, new_config["halving"])
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch; workers of their own are watched step by step, where they are."""
        if train.is_group(self._work.spec.train):
            return self._part.step()
        with self._watch.epoch(self._stacks):
            return self._part.step()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write down how a trial that is stopped or paused was left; its state is in raymle's own storage."""
        Path(checkpoint_dir, LEFT).write_text(json.dumps(self._part.leave()))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on with a trial that was paused, or from another one's weights."""
        self._part.enter(json.loads(Path(checkpoint, LEFT).read_text()))

    def cleanup(self) -> None:
        """Let go of the last trial's arrays."""
        self._part.close()

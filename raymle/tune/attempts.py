"""One trial as the driver sees it, and what stays of it when it is over."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from raymle.records import Epoch, Fitted, Record, Status

State = Literal["waiting", "running", "finished", "stopped", "failed"]
STATUS: dict[State, Status] = {
    "waiting": "killed",
    "running": "killed",
    "finished": "finished",
    "stopped": "killed",
    "failed": "failed",
}
FACTS = ("parameters", "size_mb", "train_seconds", "dollars")
"""Objectives that are counted rather than reported; less is better."""


class Ended(Record):
    """What stays of a trial that is over: ``runs/<trial>/trial.json``."""

    state: State
    score: float | None
    history: tuple[Epoch, ...] = ()
    fitted: Fitted | None = None
    reason: str = ""
    seconds: float = 0.0
    dollars: float = 0.0
    values: Mapping[str, Any] = {}
    goals: tuple[float, ...] = ()


@dataclass
class Attempt:
    """One trial: proposed, then running, then over."""

    run_id: str
    number: int
    """From 0, as Optuna counts."""
    values: dict[str, Any]
    """Of each path of the space."""
    most_epochs: int = 1
    shape: object = None
    """Trials of one shape may train as one; None trains alone."""
    state: State = "waiting"
    score: float | None = None
    """The best so far of the metric that decides."""
    history: list[Epoch] = field(default_factory=list)
    fitted: Fitted | None = None
    reason: str = ""
    seconds: float = 0.0
    dollars: float = 0.0
    goals: tuple[float, ...] = ()
    """What it came to for each objective, the score first; empty when that is not known."""
    paused_at: int = 0
    """Epochs of the checkpoint in which a scheduler has paused it; 0 when it has not."""
    recorded: set[int] = field(default_factory=set)
    """Epochs that its tracked run has."""
    asked: Any = None
    """Optuna's trial, while it is open."""
    reported: set[int] = field(default_factory=set)
    """Epochs that Optuna has."""

    @property
    def is_over(self) -> bool:
        """Whether it came to an end."""
        return self.state not in {"waiting", "running"}

    def ended(self) -> Ended:
        """Return what stays of it."""
        return Ended.model_validate({name: getattr(self, name) for name in Ended.model_fields})

    def restore(self, ended: Ended) -> None:
        """Take what stayed of it."""
        for name in Ended.model_fields:
            setattr(self, name, getattr(ended, name))
        self.history = list(ended.history)

    def scores(self, metric: str, *, is_maximised: bool) -> list[tuple[int, float]]:
        """Return each epoch with the best score up to it."""
        best = max if is_maximised else min
        found = [(epoch.epoch, epoch.metrics[metric]) for epoch in self.history]
        values = itertools.accumulate((score for _, score in found), best)
        return list(zip((epoch for epoch, _ in found), values, strict=True))

    def reach(self, names: Sequence[str]) -> tuple[float, ...]:
        """Return what it came to for each objective, the score first; nothing when one is not known."""
        if self.score is None or self.fitted is None:
            return ()
        last = self.history[-1].metrics if self.history else {}
        known = {**last, **self.fitted.metrics, **self.facts()}
        rest = [float(known.get(name, math.nan)) for name in names[1:]]
        return () if any(map(math.isnan, rest)) else (self.score, *rest)

    def facts(self) -> dict[str, float]:
        """Return what is counted of the model that it left."""
        assert self.fitted is not None
        return {
            "parameters": float(self.fitted.parameters),
            "size_mb": _megabytes(self.fitted.bundle),
            "train_seconds": self.seconds,
            "dollars": self.dollars,
            "epochs": float(self.fitted.best_epoch),
        }


def failures(attempts: Sequence[Attempt]) -> str:
    """Say why no attempt left a model: each reason once, the commonest first."""
    if not attempts:
        return "no trial was started before the budget was spent"
    causes = Counter(attempt.reason or "no epoch was finished" for attempt in attempts)
    told = [f"{count} x {cause}" for cause, count in causes.most_common()]
    return "\n  ".join([f"all {len(attempts)} trials failed:", *told])


def _megabytes(bundle: str) -> float:
    return sum(path.stat().st_size for path in Path(bundle).rglob("*") if path.is_file()) / 2**20

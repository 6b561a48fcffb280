"""What the driver knows of a study: proposals from Optuna, reports from trials, and which is best.

Knows nothing of Ray: ``conduct`` feeds it.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from raymle.config.tune import BudgetConfig
from raymle.errors import WorkError
from raymle.records import Epoch, Fitted, Status, Study
from raymle.tracking import Run
from raymle.tune.space import Node, flat, suggest

if TYPE_CHECKING:
    import optuna

State = Literal["running", "finished", "stopped", "failed"]
STATUS: dict[State, Status] = {
    "running": "killed",
    "finished": "finished",
    "stopped": "killed",
    "failed": "failed",
}


@dataclass
class Attempt:
    """One trial as the driver sees it."""

    run: Run
    values: dict[str, Any]
    asked: "optuna.Trial"
    state: State = "running"
    score: float | None = None
    history: list[Epoch] = field(default_factory=list)
    fitted: Fitted | None = None
    reason: str = ""


@dataclass
class Book:
    """Every attempt of one study, by Tune's id of the trial."""

    study: "optuna.Study"
    space: Mapping[str, Node]
    open_run: Callable[[int], Run]
    budget: BudgetConfig
    show: Callable[[str], None]
    attempts: dict[str, Attempt] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def is_maximised(self) -> bool:
        """Whether more is better."""
        return self.study.direction.name == "MAXIMIZE"

    def __getstate__(self) -> dict[str, Any]:
        """Leave everything out: Tune pickles whoever listens into a file that nobody reads."""
        return {}

    def propose(self, trial_id: str) -> dict[str, Any] | None:
        """Start an attempt and return what its trial needs; None when the budget is spent."""
        if self.is_late() or self._is_stuck():
            return None
        asked = self.study.ask()
        values = suggest(asked, self.space)
        run = self.open_run(asked.number + 1)
        asked.set_user_attr("run_id", run.id)
        run.params(flat(values))
        self.attempts[trial_id] = Attempt(run, values, asked)
        return {"run_id": run.id, "values": json.dumps(values)}

    def hear(self, trial_id: str, report: Mapping[str, Any]) -> None:
        """Take one report of a trial: an epoch, the end, or the reason of its failure."""
        attempt = self.attempts[trial_id]
        attempt.reason = report.get("reason", "")
        if "report" in report:
            epoch = Epoch.model_validate(report["report"])
            attempt.history.append(epoch)
            attempt.score = None if math.isnan(report["score"]) else report["score"]
            attempt.run.metrics(epoch.metrics, step=epoch.epoch)
        if "fitted" in report:
            attempt.fitted, attempt.state = Fitted.model_validate(report["fitted"]), "finished"

    def keep(self, trial_id: str, fitted: str) -> None:
        """Take what a trial saved when it was told to stop early."""
        attempt = self.attempts[trial_id]
        attempt.fitted, attempt.state = Fitted.model_validate(json.loads(fitted)), "stopped"

    def settle(self, trial_id: str, reason: str = "") -> None:
        """Close an attempt: tell Optuna and the tracked run how it ended."""
        attempt = self.attempts[trial_id]
        attempt.reason = attempt.reason or reason
        if attempt.fitted is None or attempt.reason:
            attempt.state = "failed"
        self._tell_optuna(attempt)
        self._tell_run(attempt)
        self.show(_line(attempt, len(self._ended())))

    def close(self) -> None:
        """End the runs of trials that never came to an end."""
        for attempt in self.attempts.values():
            if attempt.state == "running":
                self._tell_run(attempt)

    def is_late(self) -> bool:
        """Whether the minutes are over: nothing new starts, and what runs stops after its epoch."""
        minutes = self.budget.minutes
        return minutes is not None and time.monotonic() - self.started > 60 * minutes

    def best(self) -> Attempt:
        """Return the attempt with the best score, one stopped early included: its best weights were kept.

        Raises:
            WorkError: every trial failed.
        """
        whole = [attempt for attempt in self.attempts.values() if attempt.fitted]
        if not whole:
            raise WorkError(_failures(self.attempts), hint="`raymle ui` shows each trial with its settings")
        return max(whole, key=self._rank)

    def record(self, study_id: str) -> Study:
        """Count how the trials ended."""
        states = Counter(attempt.state for attempt in self.attempts.values())
        return Study(
            id=study_id,
            trials=len(self.attempts),
            finished=states["finished"],
            failed=states["failed"],
            stopped_early=states["stopped"],
        )

    def _rank(self, attempt: Attempt) -> float:
        if attempt.score is None:
            return float("-inf")
        return attempt.score if self.is_maximised else -attempt.score

    def _ended(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts.values() if attempt.state != "running"]

    def _is_stuck(self) -> bool:
        """Whether the last ``no_improvement`` ended trials brought no better best."""
        patience, ended = self.budget.no_improvement, self._ended()
        if patience is None or len(ended) <= patience:
            return False
        return max(map(self._rank, ended[-patience:])) <= max(map(self._rank, ended[:-patience]))

    def _tell_optuna(self, attempt: Attempt) -> None:
        from optuna.trial import TrialState

        if attempt.state == "failed" or attempt.score is None:
            self.study.tell(attempt.asked, state=TrialState.FAIL)
        elif attempt.state == "stopped":
            attempt.asked.report(attempt.score, step=len(attempt.history))
            self.study.tell(attempt.asked, state=TrialState.PRUNED)
        else:
            self.study.tell(attempt.asked, attempt.score)

    def _tell_run(self, attempt: Attempt) -> None:
        told = {"raymle.trial": attempt.state, "raymle.reason": attempt.reason[:4000]}
        if attempt.state == "stopped":
            told["raymle.reason"] = f"stopped early after epoch {len(attempt.history)}"
        attempt.run.tags({name: value for name, value in told.items() if value})
        attempt.run.finish(STATUS[attempt.state])


def _line(attempt: Attempt, place: int) -> str:
    settings = " ".join(f"{path.split('.')[-1]}={_short(value)}" for path, value in flat(attempt.values).items())
    score = "-" if attempt.score is None else f"{attempt.score:.4f}"
    epochs = f"{len(attempt.history)} epochs" if len(attempt.history) != 1 else "1 epoch"
    reason = f": {attempt.reason.splitlines()[0]}" if attempt.reason else ""
    return f"trial {place}  {score}  {attempt.state:<8}  {epochs}  {settings}{reason}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace(" ", "")


def _failures(attempts: Mapping[str, Attempt]) -> str:
    if not attempts:
        return "no trial was started before the budget was spent"
    return "\n  ".join([f"all {len(attempts)} trials failed:", *_causes(attempts)])


def _causes(attempts: Mapping[str, Attempt]) -> Iterator[str]:
    causes = Counter(attempt.reason or "no epoch was finished" for attempt in attempts.values())
    for cause, count in causes.most_common():
        yield f"{count} x {cause}"

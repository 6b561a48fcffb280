"""What the driver knows of a study: proposals from Optuna, reports from trials, and which is best.

Knows nothing of Ray: ``conduct`` feeds it. What it is told is in the Optuna storage before it is acted upon.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raymle.errors import WorkError
from raymle.measure import prices
from raymle.records import Epoch, Fitted, Study
from raymle.tracking import Run
from raymle.tune import budget
from raymle.tune.attempts import STATUS, Attempt, failures
from raymle.tune.budget import Spent
from raymle.tune.progress import Progress, Row, epochs_saved
from raymle.tune.progress import State as RowState
from raymle.tune.samplers import sampler
from raymle.tune.setting import Setting, alike
from raymle.tune.space import flat, suggest
from raymle.tune.storage import RUN, SPENT, VALUES, trials

if TYPE_CHECKING:
    import optuna

PUBLISH_S, SHOW_S = 5.0, 0.25


@dataclass
class Book:
    """Every attempt of one study, by the id of its run."""

    studies: "Sequence[optuna.Study]"
    setting: Setting
    show: Callable[[Progress], None] = lambda progress: None  # noqa: ARG005
    attempts: dict[str, Attempt] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    """The attempts of each of Tune's trials."""
    ended: list[Attempt] = field(default_factory=list)
    """In the order in which they ended."""
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Recall what earlier sessions did."""
        self.study = self.studies[-1]
        self._before = Spent(**json.loads(self.study.user_attrs.get(SPENT, "{}")))
        self._published = self.started
        self._shown = 0.0
        for trial in trials(self.studies):
            self._recall(trial)
        self.resumed = len(self.attempts)

    def __getstate__(self) -> dict[str, Any]:
        """Leave everything out: Tune pickles whoever listens into a file that nobody reads."""
        return {}

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return next(iter(self.setting.objectives))

    @property
    def is_maximised(self) -> bool:
        """Whether more of it is better."""
        return self.setting.objectives[self.metric]

    def propose(self, trial_id: str) -> list[Attempt]:
        """Start the next attempts, to be trained as one of Tune's trials; none when the study is over."""
        if self.is_late() or budget.is_stuck(self.setting.config.budget, [*map(self.rank, self.ended)]):
            return []
        waiting = [each for each in self.attempts.values() if each.state == "waiting"] or self._ask()
        members = alike(waiting, self.setting.group)
        for attempt in members:
            self._begin(attempt)
        self.groups[trial_id] = [attempt.run_id for attempt in members]
        self._show_now_and_then()
        return members

    def hear(self, told: Mapping[str, Any]) -> None:
        """Take one report of an attempt: an epoch, its end, or the reason of its failure."""
        attempt = self.attempts[told["run_id"]]
        attempt.reason = told.get("reason", "")
        attempt.seconds = told.get("seconds", attempt.seconds)
        attempt.dollars = prices.cost(attempt.seconds, self.setting.share * self.setting.per_hour)
        if "entered" in told:
            self._hear_entered(attempt, **told["entered"])
        if "report" in told:
            self._hear_epoch(attempt, Epoch.model_validate(told["report"]), told["score"])
        if "fitted" in told:
            attempt.fitted = Fitted.model_validate(told["fitted"])
        if "fitted" in told or attempt.reason:
            self._settle(attempt, is_stopped=told.get("stopped", False))
        self._show_now_and_then()

    def settle(self, trial_id: str, reason: str = "") -> None:
        """Close what is still open of one of Tune's trials."""
        for run_id in self.groups[trial_id]:
            attempt = self.attempts[run_id]
            if not attempt.is_over:
                attempt.reason = reason or ("" if attempt.fitted else "it left no model")
                self._settle(attempt, is_stopped=True)

    def close(self) -> None:
        """End the runs of trials that never came to an end; they go on when the study does."""
        for attempt in [each for each in self.attempts.values() if each.state == "running"]:
            self._tell_run(attempt)
        self._save_spent()
        self.setting.publish()
        self.show(self.progress())

    @property
    def spent(self) -> Spent:
        """What the study has taken so far."""
        seconds = time.monotonic() - self.started
        dollars = prices.cost(seconds, self.setting.per_hour)
        return Spent(self._before.seconds + seconds, self._before.dollars + dollars)

    def is_late(self) -> bool:
        """Whether the budget is over: nothing new starts, and what runs stops after its epoch."""
        return budget.is_spent(self.setting.config.budget, self.spent)

    def candidates(self) -> list[Attempt]:
        """Return the attempts that left a model, best first; one stopped early kept its best weights.

        Raises:
            WorkError: every trial failed.
        """
        whole = [attempt for attempt in self.attempts.values() if attempt.fitted]
        if not whole:
            raise WorkError(failures(self._begun()), hint="`raymle ui` shows each trial with its settings")
        return sorted(whole, key=self.rank, reverse=True)

    def record(self, study_id: str) -> Study:
        """Count how the trials ended."""
        begun, progress = self._begun(), self.progress()
        states = Counter(attempt.state for attempt in begun)
        return Study(
            id=study_id,
            trials=len(begun),
            finished=states["finished"],
            failed=states["failed"],
            stopped_early=states["stopped"],
            resumed=self.resumed,
            epochs=sum(row.epochs for row in progress.rows),
            epochs_saved=epochs_saved(progress),
            seconds=round(self.spent.seconds, 1),
            dollars=round(self.spent.dollars, 4),
        )

    def progress(self) -> Progress:
        """Return what a person may look at."""
        config, spent = self.setting.config, self.spent
        return Progress(
            metric=self.metric, is_maximised=self.is_maximised, trials=config.trials,
            rows=tuple(self._row(attempt) for attempt in self._begun()), elapsed_s=spent.seconds,
            minutes=config.budget.minutes, dollars=spent.dollars, max_dollars=config.budget.dollars,
            at_once=self.setting.at_once,
        )  # fmt: skip

    def exploit(self, trial_id: str, donor_id: str, explore: Callable[[dict[str, Any]], dict[str, Any]]) -> Attempt:
        """Let an attempt go on with another one's weights, and with its settings a little changed."""
        attempt, donor = (self.attempts[self.groups[each][0]] for each in (trial_id, donor_id))
        attempt.values, attempt.score = explore(donor.values), donor.score
        attempt.asked.set_user_attr(VALUES, json.dumps(attempt.values))
        return attempt

    def rank(self, attempt: Attempt) -> float:
        """Return how good an attempt is, higher is better."""
        if attempt.score is None:
            return float("-inf")
        return attempt.score if self.is_maximised else -attempt.score

    def _begun(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts.values() if attempt.state != "waiting"]

    def _recall(self, trial: "optuna.trial.FrozenTrial") -> None:
        """Take up an attempt of an earlier session; one whose end was kept, but not told, is told now."""
        from optuna import Trial

        attempt = self._attempt(trial.user_attrs[RUN], trial.number, json.loads(trial.user_attrs[VALUES]))
        run_id = attempt.run_id
        ended = self.setting.recall(run_id)
        if ended:
            attempt.restore(ended)
            self.ended.append(attempt)
        elif trial.state.is_finished():
            attempt.state, attempt.reason = "failed", "its record is gone"
        if not trial.state.is_finished():
            attempt.asked = Trial(self.study, trial._trial_id)  # noqa: SLF001  Optuna's way to go on with a trial
            attempt.reported = set(trial.intermediate_values)
            if ended:
                self.runs[run_id] = self.setting.open_run(run_id, trial.number + 1)
                self._tell_run(attempt)
                self._tell_optuna(attempt)

    def _ask(self) -> list[Attempt]:
        count = min(self.setting.together, self.setting.config.trials - len(self.attempts))
        return [self._ask_one() for _ in range(count)]

    def _ask_one(self) -> Attempt:
        self.study.sampler = sampler(self.setting.config, len(self.attempts))
        asked = self.study.ask()
        values = suggest(asked, self.setting.space)
        asked.set_user_attr(VALUES, json.dumps(values))
        run_id = asked.user_attrs.get(RUN) or self.setting.new_id()
        asked.set_user_attr(RUN, run_id)  # last: a trial without it was never begun
        attempt = self._attempt(run_id, asked.number, values)
        attempt.asked = asked
        return attempt

    def _attempt(self, run_id: str, number: int, values: dict[str, Any]) -> Attempt:
        most, shape = self.setting.most_epochs(values), self.setting.shape(values)
        attempt = self.attempts[run_id] = Attempt(run_id, number, values, most, shape)
        return attempt

    def _begin(self, attempt: Attempt) -> None:
        attempt.state = "running"
        attempt.recorded = self.setting.known(attempt.run_id)
        run = self.runs[attempt.run_id] = self.setting.open_run(attempt.run_id, attempt.number + 1)
        if not attempt.recorded:
            run.params(flat(attempt.values))

    def _hear_entered(self, attempt: Attempt, run_id: str, reports: Sequence[Mapping[str, Any]]) -> None:
        attempt.history = [Epoch.model_validate(report) for report in reports]
        settings = json.dumps(flat(attempt.values))
        told = f"after epoch {len(reports)} it went on from {run_id} with {settings}"
        self.runs[attempt.run_id].tags({"raymle.exploited": told})

    def _hear_epoch(self, attempt: Attempt, epoch: Epoch, score: float) -> None:
        attempt.history.append(epoch)
        attempt.score = None if math.isnan(score) else score
        if epoch.epoch not in attempt.recorded:
            attempt.recorded.add(epoch.epoch)
            self.runs[attempt.run_id].metrics(epoch.metrics, step=epoch.epoch)
        if attempt.score is not None and epoch.epoch not in attempt.reported and len(self.setting.objectives) == 1:
            attempt.reported.add(epoch.epoch)
            attempt.asked.report(epoch.metrics[self.metric], step=epoch.epoch)

    def _settle(self, attempt: Attempt, *, is_stopped: bool) -> None:
        is_short = is_stopped and len(attempt.history) < attempt.most_epochs
        attempt.state = "failed" if attempt.reason or not attempt.fitted else "stopped" if is_short else "finished"
        attempt.goals = attempt.reach([*self.setting.objectives])
        self.ended.append(attempt)
        self.setting.keep(attempt.run_id, attempt.ended())
        self._tell_run(attempt)
        self._tell_optuna(attempt)  # last: what Optuna has not heard is told again when the study goes on
        self._save_spent()
        now = time.monotonic()
        if now - self._published > PUBLISH_S:
            self._published = now
            self.setting.publish()

    def _show_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._shown > SHOW_S:
            self._shown = now
            self.show(self.progress())

    def _tell_optuna(self, attempt: Attempt) -> None:
        from optuna.trial import TrialState

        if attempt.state == "failed" or not attempt.goals:
            self.study.tell(attempt.number, state=TrialState.FAIL)
        elif attempt.state == "stopped" and len(attempt.goals) == 1:
            self.study.tell(attempt.number, state=TrialState.PRUNED)
        else:  # among several objectives its best weights are as good a trade as any
            self.study.tell(attempt.number, attempt.goals)

    def _tell_run(self, attempt: Attempt) -> None:
        told = {"raymle.trial": attempt.state, "raymle.reason": attempt.reason[:4000]}
        if attempt.state == "stopped":
            told["raymle.reason"] = f"stopped early after epoch {len(attempt.history)}"
        run = self.runs.pop(attempt.run_id)
        run.tags({name: value for name, value in told.items() if value})
        run.finish(STATUS[attempt.state])

    def _save_spent(self) -> None:
        self.study.set_user_attr(SPENT, json.dumps(vars(self.spent)))

    def _row(self, attempt: Attempt) -> Row:
        return Row(
            number=attempt.number + 1, run_id=attempt.run_id, state=_shown(attempt), score=attempt.score,
            epochs=len(attempt.history), most_epochs=attempt.most_epochs, settings=flat(attempt.values),
            seconds=attempt.seconds, reason=attempt.reason, values=attempt.goals,
        )  # fmt: skip


def _shown(attempt: Attempt) -> RowState:
    return "running" if attempt.state == "waiting" else attempt.state

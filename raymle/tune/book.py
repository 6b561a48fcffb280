"""What the driver knows of a study: proposals from Optuna, reports from trials, and which is best.

Knows nothing of Ray: ``conduct`` feeds it. What it is told is in the Optuna storage before it is acted upon.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raymle.errors import WorkError
from raymle.measure import prices
from raymle.records import Epoch, Fitted, Study
from raymle.tracking import Run
from raymle.tune import budget, tell
from raymle.tune.attempts import Attempt, failures, rank, ranked
from raymle.tune.budget import Spent
from raymle.tune.explore import explore
from raymle.tune.progress import Progress
from raymle.tune.samplers import sampler
from raymle.tune.setting import Setting, alike
from raymle.tune.space import flat, suggest
from raymle.tune.storage import RUN, SPENT, VALUES, trials

if TYPE_CHECKING:
    import optuna

WARNINGS = "warnings"
PUBLISH_S, SHOW_S = 5.0, 0.25
EXPLOITED = "its weights come from several trials of a population: no single run reproduces it"


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
        self.ended.sort(key=lambda attempt: attempt.at)
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
        ranks = [rank(each, is_maximised=self.is_maximised) if each.fitted else -math.inf for each in self.ended]
        if self.is_late() or budget.is_stuck(self.setting.config.budget, ranks):
            return []
        waiting = [each for each in self.attempts.values() if each.state == "waiting"] or self._ask()
        members = alike(waiting, self.setting.room.group)
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
        attempt.dollars = prices.cost(attempt.seconds, self.setting.room.share * self.setting.per_hour)
        attempt.size_mb = told.get("size_mb", attempt.size_mb)
        if "entered" in told:
            self._hear_entered(attempt, **told["entered"])
        if "report" in told:
            self._hear_epoch(attempt, Epoch.model_validate(told["report"]), told["score"])
        if "fitted" in told:
            fitted = Fitted.model_validate(told["fitted"])
            attempt.fitted = fitted.model_copy(update={"warnings": (*fitted.warnings, *attempt.warnings)})
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

    def retry(self, trial_id: str) -> None:
        """Let each of several attempts run again alone, after the process of all of them has died."""
        for attempt in map(self.attempts.__getitem__, self.groups.pop(trial_id)):
            if not attempt.is_over:
                attempt.state, attempt.shape, attempt.score, attempt.history = "waiting", None, None, []

    def may_retry(self) -> bool:
        """Whether attempts run together, so that some may have to run again."""
        groups = [group for group in self.groups.values() if len(group) > 1]
        return any(self.attempts[run_id].state == "running" for group in groups for run_id in group)

    def close(self) -> None:
        """End the runs of trials that never came to an end; they go on when the study does."""
        for attempt in [each for each in self.attempts.values() if each.state == "running"]:
            tell.run_of(self.runs.pop(attempt.run_id), attempt)
        self._save_spent()
        self._publish(0.0)
        self.show(self.progress())

    @property
    def spent(self) -> Spent:
        """What the study has taken."""
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
        return ranked(whole, is_maximised=self.is_maximised)

    def record(self, study_id: str) -> Study:
        """Count how the trials ended."""
        return tell.study(study_id, self._begun(), self.spent, resumed=self.resumed)

    def progress(self) -> Progress:
        """Return what a person may look at."""
        config, spent = self.setting.config, self.spent
        return Progress(
            metric=self.metric, is_maximised=self.is_maximised, trials=config.trials,
            rows=tuple(tell.row(attempt) for attempt in self._begun()), elapsed_s=spent.seconds,
            minutes=config.budget.minutes, dollars=spent.dollars, max_dollars=config.budget.dollars,
            at_once=self.setting.room.at_once,
        )  # fmt: skip

    def exploit(self, trial_id: str, donor_id: str) -> Attempt:
        """Let an attempt go on with another one's weights, and with its settings a little changed."""
        attempt, donor = (self.attempts[self.groups[each][0]] for each in (trial_id, donor_id))
        attempt.values, attempt.score = (
            explore(donor.values, self.setting.space, seed=self.setting.config.seed),
            donor.score,
        )
        attempt.asked.set_user_attr(VALUES, json.dumps(attempt.values))
        attempt.asked.set_user_attr(WARNINGS, [EXPLOITED])
        return attempt

    def _begun(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts.values() if attempt.state != "waiting"]

    def _recall(self, trial: "optuna.trial.FrozenTrial") -> None:
        """Take up an attempt of an earlier session."""
        from optuna import Trial

        attempt = self._attempt(trial.user_attrs[RUN], json.loads(trial.user_attrs[VALUES]))
        attempt.warnings = tuple(trial.user_attrs.get(WARNINGS, ()))
        if not trial.state.is_finished():
            attempt.asked = Trial(self.study, trial._trial_id)  # noqa: SLF001  Optuna's way to go on with a trial
            attempt.reported = set(trial.intermediate_values)
            self._recall_end(attempt)
        elif ended := self.setting.recall(attempt.run_id):
            attempt.restore(ended)
            self.ended.append(attempt)
        else:
            attempt.state, attempt.reason = "failed", "its record is gone"

    def _recall_end(self, attempt: Attempt) -> bool:
        """Tell the end of an attempt that was kept by an earlier session, and not told; say whether there is one."""
        ended = self.setting.recall(attempt.run_id)
        if ended is None:
            return False
        attempt.restore(ended)
        self.ended.append(attempt)
        tell.run_of(self.setting.open_run(attempt.run_id, attempt.number + 1), attempt)
        tell.optuna_of(self.study, attempt)
        return True

    def _ask(self) -> list[Attempt]:
        """Ask Optuna for the next attempts; those whose end is known already are told it."""
        asked: list[Attempt] = []
        while len(asked) < self.setting.room.together and len(self.attempts) < self.setting.config.trials:
            attempt = self._ask_one()
            if not self._recall_end(attempt):
                asked.append(attempt)
        return asked

    def _ask_one(self) -> Attempt:
        self.study.sampler = sampler(self.setting.config, len(self.attempts))
        asked = self.study.ask()
        values = suggest(asked, self.setting.space)
        asked.set_user_attr(VALUES, json.dumps(values))
        run_id = asked.user_attrs.get(RUN) or self.setting.new_id()
        asked.set_user_attr(RUN, run_id)  # last: a trial without it was never begun
        attempt = self._attempt(run_id, values)
        attempt.asked = asked
        return attempt

    def _attempt(self, run_id: str, values: dict[str, Any]) -> Attempt:
        most, shape = self.setting.most_epochs(values), self.setting.shape(values)
        attempt = self.attempts[run_id] = Attempt(run_id, len(self.attempts), values, most, shape)
        return attempt

    def _begin(self, attempt: Attempt) -> None:
        attempt.state = "running"
        self._publish()
        if attempt.run_id in self.runs:  # it runs again
            return
        attempt.recorded = self.setting.known(attempt.run_id)
        run = self.runs[attempt.run_id] = self.setting.open_run(attempt.run_id, attempt.number + 1)
        if not attempt.recorded:
            run.params(flat(attempt.values))

    def _hear_entered(self, attempt: Attempt, run_id: str, reports: Sequence[Mapping[str, Any]]) -> None:
        attempt.history = [Epoch.model_validate(report) for report in reports]
        attempt.warnings = (EXPLOITED,)
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
        attempt.goals = attempt.reach([*self.setting.objectives])
        if attempt.fitted and not attempt.goals:
            attempt.fitted, attempt.reason = None, attempt.lack([*self.setting.objectives])
        is_short = is_stopped and len(attempt.history) < attempt.most_epochs
        attempt.state = "failed" if attempt.reason or not attempt.fitted else "stopped" if is_short else "finished"
        attempt.at = time.time()
        self.ended.append(attempt)
        self.setting.keep(attempt.run_id, attempt.ended())
        tell.run_of(self.runs.pop(attempt.run_id), attempt)
        tell.optuna_of(self.study, attempt)  # last: what Optuna has not heard is told again when the study goes on
        self._save_spent()
        self._publish()

    def _show_now_and_then(self) -> None:
        if time.monotonic() - self._shown > SHOW_S:
            self._shown = time.monotonic()
            self.show(self.progress())

    def _publish(self, after_s: float = PUBLISH_S) -> None:
        """Bring the storage to where every machine finds it, unless that was done a moment ago."""
        if time.monotonic() - self._published >= after_s:
            self._published = time.monotonic()
            self.setting.publish()

    def _save_spent(self) -> None:
        self.study.set_user_attr(SPENT, json.dumps(vars(self.spent)))

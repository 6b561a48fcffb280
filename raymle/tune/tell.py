"""Who is told how a trial ended, and what a person sees of it."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from raymle.records import Study
from raymle.tracking import Run
from raymle.tune.attempts import STATUS, Attempt
from raymle.tune.budget import Spent
from raymle.tune.progress import Row
from raymle.tune.space import flat

if TYPE_CHECKING:
    import optuna


def optuna_of(study: "optuna.Study", attempt: Attempt) -> None:
    """Tell Optuna how an attempt ended."""
    from optuna.trial import TrialState

    if attempt.state == "failed" or not attempt.goals:
        study.tell(attempt.asked, state=TrialState.FAIL)
    elif attempt.state == "stopped" and len(attempt.goals) == 1:
        study.tell(attempt.asked, state=TrialState.PRUNED)
    else:  # among several objectives its best weights are as good a trade as any
        study.tell(attempt.asked, attempt.goals)


def run_of(run: Run, attempt: Attempt) -> None:
    """Tell the tracked run of an attempt how it ended, or that it did not."""
    told = {"raymle.trial": attempt.state, "raymle.reason": attempt.reason[:4000]}
    if attempt.state == "stopped":
        told["raymle.reason"] = f"stopped early after epoch {len(attempt.history)}"
    run.tags({name: value for name, value in told.items() if value})
    run.finish(STATUS[attempt.state])


def row(attempt: Attempt) -> Row:
    """Return what a person sees of an attempt that has begun."""
    return Row(
        number=attempt.number + 1, run_id=attempt.run_id, score=attempt.score, epochs=len(attempt.history),
        state="running" if attempt.state == "waiting" else attempt.state, most_epochs=attempt.most_epochs,
        settings=flat(attempt.values), seconds=attempt.seconds, reason=attempt.reason, values=attempt.goals,
    )  # fmt: skip


def study(study_id: str, attempts: Sequence[Attempt], spent: Spent, *, resumed: int) -> Study:
    """Count how the attempts that have begun ended."""
    states = Counter(attempt.state for attempt in attempts)
    saved = (each.most_epochs - len(each.history) for each in attempts if each.state == "stopped")
    return Study(
        id=study_id, trials=len(attempts), finished=states["finished"], failed=states["failed"],
        stopped_early=states["stopped"], resumed=resumed, epochs=sum(len(each.history) for each in attempts),
        epochs_saved=sum(max(0, each) for each in saved), seconds=round(spent.seconds, 1),
        dollars=round(spent.dollars, 4),
    )  # fmt: skip

"""A study as its pictures show it: a copy in memory, numbered as raymle numbers trials, its names short.

A trial that was stopped early counts with the best score it had, since it may be the best of the study; one that
failed has its number and nothing else.
"""

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raymle.tune.progress import Progress, Row, endings

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial

RUN = "run_id"
"""Attribute of Optuna's trial that names its run."""
LONGEST = 32
"""Letters of a label."""


def deciding(study: "optuna.Study", progress: Progress) -> "optuna.Study":
    """Copy a study as one of the deciding metric alone."""
    scores = {row.number: () if row.score is None else (row.score,) for row in progress.rows}
    return _copy(study, progress, study.directions[:1], scores)


def several(study: "optuna.Study", progress: Progress) -> "optuna.Study":
    """Copy a study with all its objectives."""
    return _copy(study, progress, study.directions, {row.number: row.values for row in progress.rows})


def objectives(study: "optuna.Study", progress: Progress) -> list[str]:
    """Name the objectives, the deciding one first."""
    more = [f"objective {place}" for place in range(2, len(study.directions) + 1)]
    return study.metric_names or [progress.metric, *more]


def label(text: Any) -> str:
    """Make text from outside a label: plotly reads some HTML in one."""
    plain = str(text)
    return html.escape(plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…", quote=False)


def _copy(
    study: "optuna.Study",
    progress: Progress,
    directions: "Sequence[StudyDirection]",
    values: Mapping[int, Sequence[float]],
) -> "optuna.Study":
    import optuna

    asked = {trial.user_attrs.get(RUN): trial for trial in study.get_trials(deepcopy=False)}
    whole = [
        row for row in progress.rows if row.run_id in asked and _is_whole(row, values[row.number], len(directions))
    ]
    tails = endings({path: None for row in whole for path in asked[row.run_id].params})
    names = dict(zip(tails, _labels(list(tails.values())), strict=True))
    trials = [_blank()] * (1 + max((row.number for row in progress.rows), default=0))
    for row in whole:
        trials[row.number] = _named(asked[row.run_id], names, values[row.number])
    copy = optuna.create_study(directions=directions)
    copy.add_trials(trials)
    return copy


def _is_whole(row: Row, values: Sequence[float], objectives: int) -> bool:
    is_over = row.state in ("finished", "stopped")
    return is_over and len(values) == objectives and all(map(math.isfinite, values))


def _blank() -> "FrozenTrial":
    from optuna.trial import TrialState, create_trial

    return create_trial(state=TrialState.FAIL)


def _named(trial: "FrozenTrial", names: Mapping[str, str], values: Sequence[float]) -> "FrozenTrial":
    from optuna.trial import create_trial

    choices = {path: _choices(each) for path, each in trial.distributions.items()}
    return create_trial(
        values=list(values),
        params={names[path]: choices[path].get(value, value) for path, value in trial.params.items()},
        distributions={names[path]: _ranged(each, choices[path]) for path, each in trial.distributions.items()},
        intermediate_values=trial.intermediate_values,
    )


def _choices(distribution: "BaseDistribution") -> dict[Any, str]:
    options = [option for option in getattr(distribution, "choices", ()) if isinstance(option, str)]
    return dict(zip(options, _labels(options), strict=True))


def _labels(texts: Sequence[str]) -> list[str]:
    """Make a label of each text; those that are cut to the same keep apart by their place."""
    labels = [label(text) for text in texts]
    return [text if labels.count(text) == 1 else f"{text} #{place}" for place, text in enumerate(labels)]


def _ranged(distribution: "BaseDistribution", choices: Mapping[Any, str]) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution

    if not isinstance(distribution, CategoricalDistribution):
        return distribution
    return CategoricalDistribution([choices.get(option, option) for option in distribution.choices])

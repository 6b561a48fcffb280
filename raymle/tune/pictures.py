"""The pictures of a study, drawn by Optuna and plotly; one that can't be made says why instead."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from raymle.tune import shown
from raymle.tune.progress import Progress, best

if TYPE_CHECKING:
    import optuna
    from optuna.importance import BaseImportanceEvaluator
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

BLUE, GREEN, RED, PALE = "#0072B2", "#009E73", "#D55E00", "#c9ced6"
CURVES = 100
"""About as many learning curves can be told apart."""
FEW, MANY = 4, 100
"""Trials: fewest that can say what matters, and most for fANOVA, whose time grows faster than their number."""

ACROSS = 4
"""Slices that the width of the page can hold."""

Draw = Callable[[], "Figure"]


@dataclass(frozen=True)
class Picture:
    """One picture of a page."""

    name: str
    title: str
    says: str
    """What it shows, or why it can't be made."""
    figure: str = ""
    """Plotly's JSON; empty when it can't be made."""


def pictures(study: "optuna.Study", progress: Progress) -> list[Picture]:
    """Draw all that a study has to show, the most telling first."""
    with _quiet():
        one = shown.deciding(study, progress)
        return [
            _history(one, progress),
            *_fronts(study, progress),
            *_settings(one, progress),
            _curves(one, progress),
            _epochs(progress),
        ]


def _history(one: "optuna.Study", progress: Progress) -> Picture:
    from optuna.visualization import plot_optimization_history

    says = f"The {progress.metric} of each trial, and the best so far. One that was stopped early has the best it had."
    draw = partial(plot_optimization_history, one, target_name=shown.label(progress.metric))
    return drawn("history", "History", says, draw, _lack(one, trials=1))


def _settings(one: "optuna.Study", progress: Progress) -> Iterator[Picture]:
    from optuna.visualization import plot_parallel_coordinate, plot_param_importances

    name = shown.label(progress.metric)
    says = "A line for each trial, from its score through its settings."
    draw = partial(plot_parallel_coordinate, one, target_name=name)
    yield drawn("parallel", "Parallel coordinates", says, draw, _lack(one, trials=2, settings=1))
    judge, says = _judge(one)
    draw = partial(plot_param_importances, one, evaluator=judge, target_name=name)
    yield drawn("importance", "Importance", says, draw, _lack(one, trials=FEW, settings=2))
    says = f"{progress.metric} over each setting alone; the darker, the later the trial."
    draw = partial(_slices, one, name)
    yield drawn("slices", "Slices", says, draw, _lack(one, trials=2, settings=1))


def _slices(one: "optuna.Study", name: str) -> "Figure":
    from optuna.visualization import plot_slice

    figure = plot_slice(one, target_name=name)
    figure.update_xaxes(nticks=4, selector={"type": "log"})
    return figure.update_layout(width=None) if len(figure.data) <= ACROSS else figure


def _judge(one: "optuna.Study") -> "tuple[BaseImportanceEvaluator, str]":
    """Choose who says what matters: fANOVA finds it in far fewer trials, but needs settings that all of them have."""
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

    trials = _whole(one)
    if len(trials) <= MANY and len({frozenset(trial.params) for trial in trials}) == 1:
        says = "The share of the score's variance that each setting explains (fANOVA)."
        return FanovaImportanceEvaluator(seed=0), says
    share = max(0.1, min(5 / max(len(trials), 1), 0.5))
    says = f"How far each setting decides whether a trial is among the best {share:.0%} (PED-ANOVA)."
    return PedAnovaImportanceEvaluator(target_quantile=share), says


def _fronts(study: "optuna.Study", progress: Progress) -> Iterator[Picture]:
    """Draw the deciding objective against each other one: two axes are read, three and four are not."""
    from optuna.visualization import plot_pareto_front

    if len(study.directions) < 2:
        return
    many, names = shown.several(study, progress), shown.objectives(study, progress)
    for place, other in enumerate(names[1:], 1):

        def pair(trial: "FrozenTrial", place: int = place) -> tuple[float, float]:
            return trial.values[0], trial.values[place]

        says = f"{names[0]} and {other}; trials of the Pareto front, over all objectives, are red."
        draw = partial(plot_pareto_front, many, targets=pair, target_names=[shown.label(names[0]), shown.label(other)])
        yield drawn(f"front-{place}", f"Pareto front: {other}", says, draw, _lack(many, trials=1))


def _curves(one: "optuna.Study", progress: Progress) -> Picture:
    first = best(progress)
    reported = [trial for trial in _whole(one) if trial.intermediate_values]
    every = -(-len(reported) // CURVES)
    dark = [trial for trial in reported if first is not None and trial.number == first.number]
    pale = [trial for place, trial in enumerate(reported) if place % every == 0 and trial not in dark]
    says = (
        f"The {progress.metric} over the epochs of {len(pale + dark):,} trials out of {len(reported):,}; "
        "the best is dark."
    )
    draw = partial(_drawn_curves, pale, dark, shown.label(progress.metric))
    return drawn("curves", "Learning curves", says, draw, "" if reported else "no trial reported its epochs")


def _drawn_curves(pale: "list[FrozenTrial]", dark: "list[FrozenTrial]", metric: str) -> "Figure":
    import optuna
    from optuna.visualization import plot_intermediate_values

    some = optuna.create_study()
    some.add_trials([*pale, *dark])
    figure = plot_intermediate_values(some)
    for place, (trial, trace) in enumerate(zip([*pale, *dark], figure.data, strict=True)):
        colour, width = (PALE, 1) if place < len(pale) else (BLUE, 3)
        trace.update(name=f"trial {trial.number}", line={"color": colour, "width": width}, marker_color=colour)
    return figure.update_layout(xaxis_title="epoch", yaxis_title=metric)


def _epochs(progress: Progress) -> Picture:
    from plotly import graph_objects

    def draw() -> "Figure":
        numbers = [row.number for row in progress.rows]
        saved = [max(row.most_epochs - row.epochs, 0) if row.state == "stopped" else 0 for row in progress.rows]
        bars = {
            "run": ([row.epochs * (row.state != "failed") for row in progress.rows], BLUE),
            "run by a trial that failed": ([row.epochs * (row.state == "failed") for row in progress.rows], RED),
            "saved by stopping early": (saved, PALE),
        }
        figure = graph_objects.Figure([
            graph_objects.Bar(name=name, x=numbers, y=values, marker_color=colour)
            for name, (values, colour) in bars.items()
            if any(values)
        ])  # fmt: skip
        return figure.update_layout(barmode="stack", xaxis_title="trial", yaxis_title="epochs", bargap=0.1)

    lack = "" if any(row.epochs for row in progress.rows) else "no trial finished an epoch"
    return drawn("epochs", "Epochs", "The epochs that each trial ran, and those that it was spared.", draw, lack)


def _whole(one: "optuna.Study") -> "list[FrozenTrial]":
    from optuna.trial import TrialState

    return one.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _lack(one: "optuna.Study", *, trials: int, settings: int = 0) -> str:
    """Say what a picture needs and the study does not have; empty when it has all."""
    whole = _whole(one)
    names = {name for trial in whole for name in trial.params}
    if len(whole) < trials:
        return f"it takes {trials} or more trials with a score, and the study has {len(whole)}"
    if len(names) < settings:
        return f"it takes {settings} or more settings, and the study has {len(names)}"
    return ""


def drawn(name: str, title: str, says: str, draw: Draw, lack: str) -> Picture:
    """Draw a picture, unless something lacks; what a library can't draw is left out with its words."""
    if lack:
        return Picture(name, title, lack)
    try:
        figure = draw()
        figure.update_layout(title=None, template="plotly_white", height=380, margin={"t": 30, "r": 20, "b": 40})
        figure.update_layout(colorway=[BLUE, RED, GREEN])
        return Picture(name, title, says, figure.to_json())
    except Exception as error:  # noqa: BLE001  the rest of the page can be read
        return Picture(name, title, f"it can't be drawn: {error}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Optuna says of its own experiments, and of studies with nothing to draw, from the user."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)

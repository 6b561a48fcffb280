"""What cannot be searched is found before anything is started."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from raymle import loader, train
from raymle.config import Spec, TuneConfig
from raymle.config.amount import settled, settled_spec
from raymle.errors import SpecError, UsageError
from raymle.measure import metrics, prices
from raymle.records import Splits
from raymle.tune import space
from raymle.tune.attempts import FACTS
from raymle.tune.capacity import PAUSING
from raymle.tune.samplers import SEVERAL
from raymle.tune.space import Node

LOSSES = ("validation_loss", "train_loss")
WEIGHTLESS = ("train.optimizer", "train.label_smoothing", "train.class_weights", "model.params.dropout")
"""Paths that may change while the weights stay: those that a population may search."""


def check(spec: Spec) -> TuneConfig:
    """Find what is wrong with a search before anything is started.

    Raises:
        SpecError: a range is not one, or holds a value that its path can't take; an objective is never reported.
        UsageError: it asks for what this version does not have, or for what does not go together.
    """
    config = spec.tune or TuneConfig()
    tree = space.parse(config.space)
    if config.algorithm == "evolution":
        raise UsageError("tune.algorithm evolution comes later", hint="tpe searches architectures too")
    for path, value in space.probes(tree):
        _check_value(spec, path, value)
    if config.algorithm == "grid":
        space.grid(tree)
    price = prices.per_hour(spec.cluster.node, spec.cluster.dollars_per_hour)
    if config.budget.dollars is not None and not price:
        raise UsageError(
            "tune.budget.dollars limits what costs nothing: no node has a price",
            hint="set cluster.dollars_per_hour or cluster.node, or use tune.budget.minutes",
        )
    _check_objectives(spec, config)
    _check_pausing(spec, config, tree)
    return config


def fits(spec: Spec, splits: Splits) -> None:
    """Refuse a family that cannot take what the prepared rows consist of.

    Raises:
        UsageError: the spec's own, or one in the space.
    """
    for each in ways(spec):
        train.fits(each.model, splits, folder=each.folder)


def ways(spec: Spec) -> list[Spec]:
    """Return a spec for each end of each range and each option of a search, and the spec itself where it is one."""
    tree = space.parse((spec.tune or TuneConfig()).space)
    return varied(spec, tree) if "model" in tree else [spec, *varied(spec, tree)]


def varied(spec: Spec, tree: Mapping[str, Node]) -> list[Spec]:
    """Return the spec with each end of each range, and each option."""
    return [loader.override(spec, {path: value}) for path, value in space.probes(tree)]


def trial_spec(spec: Spec, values: Mapping[str, Any], rows: int) -> Spec:
    """Return the spec of one trial, by what it varies and the number of train rows."""
    return settled_spec(loader.override(spec, values), rows)


def most_epochs(spec: Spec, rows: int) -> int:
    """Return how many epochs a trial has at most."""
    return train.most_epochs(settled(spec.train, spec.model, rows), spec.model)


def objectives(spec: Spec, metric: str) -> dict[str, bool]:
    """Return whether more is better, by objective; the deciding metric comes first.

    Raises:
        SpecError: another objective is named first.
    """
    names = (spec.tune or TuneConfig()).objectives or (metric,)
    if names[0] != metric:
        raise SpecError(
            f"tune.objectives starts with {names[0]!r}, and the metric that decides is {metric}",
            hint=f"start with {metric}, or set evaluate.metric={names[0]}",
        )
    return {name: name not in (*FACTS, *LOSSES) and metrics.higher_is_better(name) for name in names}


def _check_value(spec: Spec, path: str, value: object) -> None:
    try:
        varied = loader.override(spec, {path: value})
        train.check(varied.train, varied.model, folder=varied.folder)
        _check_source(varied, spec)
    except (SpecError, UsageError) as error:
        raise type(error)(f"tune.space: {path} can't be {value!r}: {error}", hint=error.hint) from None


def _check_source(varied: Spec, spec: Spec) -> None:
    if varied.train.pretrained.source not in {None, spec.train.pretrained.source}:
        raise UsageError("a study has one source of first weights", hint="search null beside it, or make another study")


def _check_objectives(spec: Spec, config: TuneConfig) -> None:
    names = config.objectives
    if len(set(names)) < len(names):
        raise SpecError("tune.objectives names one twice")
    for name in names[1:]:
        if name not in (*FACTS, *LOSSES) and not spec.train.loop:
            near = get_close_matches(name, [*FACTS, *LOSSES], n=1)
            known = f"the metric that decides comes first, then any of {', '.join([*FACTS, *LOSSES])}"
            hint = f"did you mean {near[0]}?" if near else known
            raise SpecError(f"tune.objectives: no trial reports {name!r}", hint=hint)
    if len(names) > 1 and config.algorithm not in SEVERAL:
        raise UsageError(
            f"tune.algorithm {config.algorithm} knows one objective, and tune.objectives names {len(names)}",
            hint=f"use {', '.join(SEVERAL)}",
        )


def _check_pausing(spec: Spec, config: TuneConfig, tree: Mapping[str, Node]) -> None:
    """Refuse schedulers that pause trials where a trial cannot go on."""
    if config.scheduler not in PAUSING:
        return
    every = [spec, *varied(spec, tree)]
    if not all(train.keeps(each.train, each.model) for each in every):
        raise UsageError(
            f"tune.scheduler {config.scheduler} pauses trials, and trees and loops of your own keep no checkpoints",
            hint="use asha or median",
        )
    if any(train.is_group(each.train) for each in every):
        raise UsageError(f"tune.scheduler {config.scheduler} needs trials of one worker", hint="use asha or median")
    fixed = next((path for path in tree if not path.startswith(WEIGHTLESS)), None)
    if config.scheduler == "pbt" and fixed:
        raise UsageError(
            f"tune.scheduler pbt copies weights between trials, so {fixed} can't differ among them",
            hint=f"search {', '.join(WEIGHTLESS)}, or use asha",
        )

"""From one spec and choices to the runs that are compared."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from raymle import loader, pipeline, planning
from raymle import train as training
from raymle.comparing.facts import dollars, names
from raymle.comparing.table import SECONDS_EACH
from raymle.config import Spec
from raymle.errors import RaymleError, UsageError
from raymle.evaluate import tables
from raymle.records import Plan, Trained

VARIED = ("model", "train")
HINT = "such as model.type=choice:linear,mlp,trees after the spec"


def variants(spec: Spec, ranges: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[Spec]:
    """Return the spec with every combination of some choices, each checked as far as it can be without data.

    A model of another type gets that type's defaults: the parameters of the spec's own do not fit it.

    Args:
        spec: What all have in common.
        ranges: For each dotted path its choices: ``{"model.type": {"choice": ["linear", "mlp"]}}``.

    Raises:
        UsageError: there is no choice, or one of something else than model and training.
        SpecError: a combination is no experiment.
    """
    if not ranges:
        raise UsageError("compare needs runs, or choices to train", hint=HINT)
    for path, range_ in ranges.items():
        if path.split(".")[0] not in VARIED:
            raise UsageError(f"{path} cannot be compared: other rows would judge", hint="vary model and train")
        if set(range_) != {"choice"}:
            raise UsageError(f"{path} is a range of numbers, and compare trains each of some choices", hint=HINT)
    combinations = itertools.product(*(range_["choice"] for range_ in ranges.values()))
    found = [_with(spec, dict(zip(ranges, values, strict=True))) for values in combinations]
    for each in found:
        planning.check(each)
    return found


def _with(spec: Spec, values: Mapping[str, Any]) -> Spec:
    is_other = values.get("model.type", spec.model.type) != spec.model.type
    return loader.override(spec, {"model.params": {}, **values} if is_other else values)


def train(specs: Sequence[Spec]) -> list[Trained]:
    """Train each spec as a run of its own, one after another.

    Raises:
        RaymleError: what ended a training; the models before it are runs all the same.
    """
    found: list[Trained] = []
    for place, (spec, name) in enumerate(zip(specs, names(specs), strict=True), 1):
        training.say(f"model {place} of {len(specs)}: {name}")
        try:
            found.append(pipeline.train(spec))
        except RaymleError as error:
            done = " ".join(each.run_id for each in found)
            error.hint = "; ".join(filter(None, [error.hint, done and f"trained before it: raymle compare {done}"]))
            raise
    return found


def plan(specs: Sequence[Spec]) -> Plan:
    """Say what training and measuring these would take; nothing is started."""
    each = [planning.plan(spec, "train") for spec in specs]
    seconds = [one.seconds or 0 for one in each]
    steps = (*(f"train {name}" for name in names(specs)), f"measure {len(specs)} models here, one at a time")
    costs = sum(dollars(one, spec) or 0 for one, spec in zip(seconds, specs, strict=True))
    what = each[0].what.replace(f"{specs[0].model.type} predicts", f"{tables.models(len(specs))} to predict", 1)
    told = {"verb": "compare", "what": what, "steps": steps}
    return each[0].model_copy(
        update={**told, "seconds": round(sum(seconds) + SECONDS_EACH * len(specs), 1), "dollars": costs}
    )

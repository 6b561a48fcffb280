"""Whether a model may take over: pure, over what the ledger and the specs say."""

import operator
from collections.abc import Sequence

from raymle.config import CONDITION, Fractions, PromoteConfig, Spec
from raymle.evaluate.ledger import Entry
from raymle.measure.metrics import better
from raymle.records import Metrics, Schema, Verdict

COMPARE = {">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt}
KEEPS_SIDES = ("hash", "group")


def judge(
    config: PromoteConfig,
    run_id: str,
    chain: Sequence[Entry],
    *,
    metric: str,
    champion: str | None,
    splits_id: str = "",
) -> Verdict:
    """Decide over a run's openings; a refusal is two sentences: why, and what now.

    Args:
        config: What the spec asks for.
        run_id: The challenger.
        chain: The ledger.
        metric: The metric that decides between two models.
        champion: The run that holds the alias now; None when nobody does.
        splits_id: Whose sealed rows the challenger would be scored on.
    """
    both = " ".join(["raymle score", run_id, *([champion] if champion else [])])
    openings = [entry for entry in chain if entry.of(run_id)]
    fresh = "Append new data and train on it: the sealed rows among them make a new test"
    if not openings and any(entry.splits_id == splits_id for entry in chain):
        return refusal(f"The sealed rows of run {run_id} were spent on other runs: they are no test for it", fresh)
    if not openings:
        return refusal(f"Run {run_id} was never scored on sealed rows", f"`{both}` opens them, once")
    if not any(entry.label == "test" for entry in openings):
        return refusal(f"The rows that run {run_id} was scored on were spent before: it is no test", fresh)
    shared = opening(chain, run_id, champion)
    if shared is None:
        return refusal(
            f"The champion, run {champion}, was not scored in the same opening as run {run_id}",
            f"{fresh}, to be opened for both by `raymle score RUN {champion}`",
        )
    why = [*_too_few(config, shared), *_unmet(config, shared, run_id)]
    if champion:
        why += _beaten(shared, run_id, champion, metric)
    if why == _too_few(config, shared) and why:
        return refusal(
            why[0],
            "Gather more rows or seal a larger share of them; a lower promote.min_fresh_rows is for rows not yet spent",
        )
    return refusal("; ".join(why), "Improve the model, then score it on fresh rows") if why else Verdict(passed=True)


def opening(chain: Sequence[Entry], run_id: str, champion: str | None) -> Entry | None:
    """Return the latest test that the run took, beside the champion if there is one."""
    tests = (entry for entry in reversed(chain) if entry.label == "test" and entry.of(run_id))
    return next((entry for entry in tests if champion is None or entry.of(champion)), None)


def refusal(why: str, now: str) -> Verdict:
    """Return a refusal in two sentences."""
    return Verdict(passed=False, reasons=(f"{why}.", f"{now}."))


def failing(conditions: Sequence[str], metrics: Metrics) -> list[str]:
    """Say which conditions the metrics do not meet; a metric that is absent fails."""
    found = []
    for condition in conditions:
        match = CONDITION.match(condition)
        assert match, condition
        name, sign, bound = match.groups()
        value = metrics.get(name)
        if value is None:
            found.append(f"{name} was not measured, {condition} is required")
        elif not COMPARE[sign](value, float(bound)):
            found.append(f"{name} is {value:.4g}, {condition} is required")
    return found


def other_question(mine: Schema, theirs: Schema) -> str:
    """Say what else the other model predicts; empty when it is the same."""
    if (mine.target, mine.task, mine.classes) == (theirs.target, theirs.task, theirs.classes):
        return ""
    return f"it predicts {_question(theirs)}, not {_question(mine)}"


def may_have_trained(run: tuple[Spec, Schema], other: tuple[Spec, Schema]) -> str:
    """Say why the other run may have trained on the run's sealed rows; empty when its split forbids that.

    A hash of key or group sends a row to the same side however the data grows; nothing else promises that.
    """
    (mine, my_schema), (theirs, their_schema) = run, other
    if mine.split.method != theirs.split.method:
        return f"split.method is {theirs.split.method} there and {mine.split.method} here"
    if mine.split.method not in KEEPS_SIDES:
        return f"split.method {mine.split.method} moves rows when the data changes"
    for name in ("seed", "fractions"):
        there, here = getattr(theirs.split, name), getattr(mine.split, name)
        if there != here:
            return f"split.{name} is {_plain(there)} there and {_plain(here)} here"
    if my_schema.deciding != their_schema.deciding:
        there, here = (", ".join(each.deciding) for each in (their_schema, my_schema))
        return f"columns {there} decided the split there and {here} here"
    return ""


def _question(schema: Schema) -> str:
    return f"{schema.target} ({len(schema.classes)} classes)" if schema.classes else schema.target


def _plain(value: object) -> str:
    if isinstance(value, Fractions):
        return f"{value.train:g}/{value.validation:g}/{value.test:g}"
    return str(value)


def _too_few(config: PromoteConfig, test: Entry) -> list[str]:
    if test.rows >= config.min_fresh_rows:
        return []
    return [f"The score rests on {test.rows:,} fresh rows, promote.min_fresh_rows asks for {config.min_fresh_rows:,}"]


def _unmet(config: PromoteConfig, test: Entry, run_id: str) -> list[str]:
    scored = test.of(run_id)
    return [f"Test {text}" for text in failing(config.require, scored.metrics if scored else {})]


def _beaten(test: Entry, run_id: str, champion: str, metric: str) -> list[str]:
    ours, theirs = (scored.metrics.get(metric) if (scored := test.of(run)) else None for run in (run_id, champion))
    if ours is None or theirs is None:
        return [f"{metric} was not measured for run {run_id if ours is None else champion}"]
    if not better(metric, theirs, ours):
        return []
    return [
        f"On the same {test.rows:,} rows the champion, run {champion}, has a {metric} of {theirs:.4g},"
        f" run {run_id} {ours:.4g}"
    ]

"""What was found, as sentences that say what to do, the gravest first."""

from collections.abc import Callable, Iterator
from typing import Any

from raymle.data.summary.columns import Facts
from raymle.records import Schema

NEARLY, MISSING, IMBALANCED, FEW_ROWS = 0.995, 0.5, 0.01, 20
OUTLYING, SAME = 0.05, 0.9995
ORDER = (
    "copy", "decides", "alone", "later", "private", "imbalanced", "id", "constant", "nearly_constant", "missing",
    "alike", "outliers",
)  # fmt: skip
Finding = dict[str, Any]


def findings(schema: Schema, told: list[Facts], balance: dict[str, Any], more: list[Finding]) -> list[Finding]:
    """Return all findings with their sentences.

    Args:
        schema: What each column is.
        told: What is known of each column.
        balance: The target's distribution.
        more: Findings about pairs of columns and the target, without sentences.
    """
    hidden = {facts["column"] for facts in told if facts["private"]}
    more = [each for each in more if each["kind"] != "id" or each["columns"][0] not in hidden]
    suspect = {each["columns"][0] for each in more if each["kind"] in {"copy", "decides", "alone"}}
    mine = [each for facts in told for each in _of_column(facts)
            if each["kind"] != "outliers" or facts["column"] not in suspect]  # fmt: skip
    roles = {facts["column"]: facts["role"] for facts in told}
    found = sorted([*more, *mine, *_imbalance(schema, balance)], key=lambda each: ORDER.index(each["kind"]))
    return [each | {"text": SENTENCES[each["kind"]](each, roles)} for each in found]


def _of_column(facts: Facts) -> Iterator[Finding]:
    name, role = facts["column"], facts["role"]
    if facts["private"] and role != "drop":
        yield _finding("private", name, facts["evidence"]["share"], facts["evidence"]["kind"])
    if role != "feature":
        return
    common, missing = facts.get("common", 0), facts.get("missing", 0)
    if facts.get("distinct", 2) <= 1 and not missing:
        yield _finding("constant", name, 1.0, "share of rows")
    elif common >= NEARLY:
        yield _finding("nearly_constant", name, common, "share of rows")
    elif missing >= MISSING:
        yield _finding("missing", name, missing, "share of rows")
    if facts.get("outliers", 0) >= OUTLYING:
        yield _finding("outliers", name, facts["outliers"], "share of rows")


def _imbalance(schema: Schema, balance: dict[str, Any]) -> Iterator[Finding]:
    smallest = balance.get("smallest")
    if smallest and (smallest["share"] < IMBALANCED or smallest["rows"] < FEW_ROWS):
        extra = {"class": smallest["class"], "rows": smallest["rows"]}
        yield _finding("imbalanced", schema.target, smallest["share"], "share of rows") | extra


def _finding(kind: str, name: str, figure: float | None, unit: str) -> Finding:
    return {"kind": kind, "columns": [name], "figure": figure, "unit": unit}


def _private(each: Finding, roles: dict[str, str]) -> str:
    name, role = each["columns"][0], roles[each["columns"][0]]
    why = "by its name" if each["figure"] is None else f"in {_percent(each['figure'])} of its values"
    said = f"column {name} looks private ({each['unit']}, {why})"
    if role == "feature":
        return f"{said}: does the model need it? data.drop: [{name}]"
    if role == "key":
        return f"{said}: a key comes back with every prediction; a pseudonym will do"
    return f"{said}: a pseudonym or a coarser value will do" if role != "target" else f"{said}: is it meant as target?"


def _alone(each: Finding, _: dict[str, str]) -> str:
    name = each["columns"][0]
    return (
        f"column {name} alone predicts the target ({each['unit']} {each['figure']:.3f}): "
        f"is it known before the event? data.drop: [{name}]"
    )


def _copy(each: Finding, _: dict[str, str]) -> str:
    name, share = each["columns"][0], each["unit"] == "share of rows"
    why = f"in {_percent(each['figure'])} of the rows" if share else f"in other units, rank correlation {_r(each)}"
    return f"column {name} is the target in other words ({why}): data.drop: [{name}]"


def _r(each: Finding) -> str:
    return f"{each['figure']:.4f}"


def _imbalanced(each: Finding, _: dict[str, str]) -> str:
    return (
        f"class {each['class']} is {_percent(each['figure'])} of the rows, {each['rows']:,} of the sample: "
        "accuracy says little; evaluate.metric: average_precision, split.method: stratified"
    )


def _alike(each: Finding, _: dict[str, str]) -> str:
    left, right = each["columns"]
    said = "the same" if abs(each["figure"]) >= SAME else "nearly the same"
    figure = f"{each['unit']} {each['figure']:.3f}"
    return f"columns {left} and {right} say {said} ({figure}): one will do, data.drop: [{right}]"


SENTENCES: dict[str, Callable[[Finding, dict[str, str]], str]] = {
    "copy": _copy,
    "alone": _alone,
    "decides": lambda each, _: (
        f"each value of column {each['columns'][0]} goes with one class (AUC {each['figure']:.3f}): "
        f"is it known before the event? data.drop: [{each['columns'][0]}]"
    ),
    "later": lambda each, _: (
        f"column {each['columns'][0]} is later than {each['columns'][1]} in {_percent(each['figure'])} of the rows: "
        f"was it known then? data.drop: [{each['columns'][0]}]"
    ),
    "private": _private,
    "imbalanced": _imbalanced,
    "id": lambda each, _: (
        f"column {each['columns'][0]} looks like an id ({_percent(each['figure'])} of its values are different): "
        f"data.key: [{each['columns'][0]}], or data.drop"
    ),
    "constant": lambda each, _: f"column {each['columns'][0]} has one value: data.drop: [{each['columns'][0]}]",
    "nearly_constant": lambda each, _: (
        f"column {each['columns'][0]} has one value in {_percent(each['figure'])} of the rows: "
        f"unless the others matter, data.drop: [{each['columns'][0]}]"
    ),
    "missing": lambda each, _: (
        f"column {each['columns'][0]} has no value in {_percent(each['figure'])} of the rows: "
        f"is that how it is, or is something lost on the way?"
    ),
    "alike": _alike,
    "outliers": lambda each, _: (
        f"column {each['columns'][0]} has {_percent(each['figure'])} outliers: look at its histogram; "
        "data.transforms can clip them or take a logarithm"
    ),
}


def _percent(share: float) -> str:
    """Write a share so that only all is 100 %."""
    if share == 1:
        return "100 %"
    return f"{share * 100:.3g} %" if share < 0.999 else f"{min(share, 0.9999) * 100:.2f} %"

"""What a study searches: ranges on paths of the spec, choices within choices. Pure; knows no framework.

    train.optimizer.learning_rate: {loguniform: [1e-4, 1e-1]}
    model: {choice: [{type: mlp, params: {hidden: {choice: [[64], [256, 128]]}}}, {type: trees}]}

A range inside an option is drawn only when that option is (a conditional space).
"""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from raymle.errors import SpecError

SEARCHABLE = ("model", "train")
FIXED = ("train.workers", "train.resources", "train.backend", "train.loop")
RANGES = {
    "uniform": "[low, high]",
    "loguniform": "[low, high]",
    "quniform": "[low, high, step]",
    "int": "[low, high]",
    "choice": "a list of options",
}


class Suggester(Protocol):
    """The part of ``optuna.Trial`` that a space needs."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Propose a number between the ends."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """Propose a whole number between the ends, both included."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> Any:
        """Propose one of the names."""


@dataclass(frozen=True)
class Number:
    """A range of numbers."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Choice:
    """One of some options, each with ranges of its own or none."""

    options: dict[str, "Node"]


@dataclass(frozen=True)
class Group:
    """A mapping or list with a range somewhere inside."""

    items: dict[str, "Node"]


@dataclass(frozen=True)
class Constant:
    """A value as it is."""

    value: Any


Node = Number | Choice | Group | Constant


def parse(space: Mapping[str, Any]) -> dict[str, Node]:
    """Read ``tune.space`` into one range a path.

    Raises:
        SpecError: naming the path whose range can't be read.
    """
    if not space:
        raise SpecError(
            "tune.space is empty: there is nothing to search",
            hint="add train.optimizer.learning_rate=loguniform:1e-4:1e-1, say; with --resume, the ranges of the study",
        )
    for path in space:
        _check_path(path, space)
    return {path: _ranged(path, value) for path, value in space.items()}


def suggest(trial: Suggester, space: Mapping[str, Node]) -> dict[str, Any]:
    """Let a trial draw one value for each path."""
    return {path: _draw(trial, path, node) for path, node in space.items()}


def probes(space: Mapping[str, Node]) -> Iterator[tuple[str, Any]]:
    """Yield each path with values that together show every end and every option: a check before a study."""
    for path, node in space.items():
        for value in _probe(node):
            yield path, value


def grid(space: Mapping[str, Node]) -> list[dict[str, Any]]:
    """List every combination as the parameters that an optimiser would name.

    Raises:
        SpecError: a range has no finite number of values.
    """
    axes = [_combinations(path, node) for path, node in space.items()]
    return [_merged(parts) for parts in itertools.product(*axes)]


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Spread mappings over dotted paths as a person reads them: ``model.type``, ``model.params.hidden``."""
    found: dict[str, Any] = {}
    for path, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat({f"{path}.{key}": inner for key, inner in value.items()})
        else:
            found[path] = value
    return found


def _check_path(path: str, space: Mapping[str, Any]) -> None:
    at = f"tune.space: {path}"
    if path.split(".")[0] not in SEARCHABLE:
        raise SpecError(f"{at} can't be searched", hint="paths of model and train can")
    if any(path == fixed or path.startswith(f"{fixed}.") for fixed in FIXED):
        raise SpecError(f"{at} can't be searched: it says how a trial runs, not what it learns")
    for other in space:
        if path.startswith(f"{other}."):
            raise SpecError(f"{at} lies inside {other}, which has a range too", hint="keep one of the two")


def _ranged(path: str, value: Any) -> Node:
    node = _parse(path, value)
    if isinstance(node, Constant):
        raise SpecError(
            f"tune.space: {path} has no range: {value!r}",
            hint=f"write one of {', '.join(RANGES)}, or put the value outside tune.space",
        )
    return node


def _parse(path: str, value: Any) -> Node:
    if isinstance(value, Mapping):
        kind = next(iter(value)) if len(value) == 1 else None
        if kind == "choice":
            return _choice(path, value[kind])
        if kind in RANGES:
            return _number(path, str(kind), value[kind])
        nodes = {str(key): _parse(f"{path}.{key}", inner) for key, inner in value.items()}
        if any(not isinstance(node, Constant) for node in nodes.values()):
            return Group(nodes)
    return Constant(value)


def _number(path: str, kind: str, ends: Any) -> Number:
    wanted = 3 if kind == "quniform" else 2
    if not isinstance(ends, list | tuple) or len(ends) != wanted or not all(map(_is_number, ends)):
        raise SpecError(f"tune.space: {path}: {kind} needs {RANGES[kind]} as numbers, not {ends!r}")
    low, high = ends[0], ends[1]
    if not low < high:
        raise SpecError(f"tune.space: {path}: {kind} goes from {low} up to {high}; low must be below high")
    if kind == "loguniform" and low <= 0:
        raise SpecError(f"tune.space: {path}: loguniform starts at {low}; a logarithm needs more than 0")
    whole = all(isinstance(end, int) for end in ends) and kind in ("int", "quniform")
    if kind == "int" and not whole:
        raise SpecError(f"tune.space: {path}: int needs whole numbers, not {ends!r}")
    if kind != "quniform":
        return Number(low, high, step=1 if whole else None, log=kind == "loguniform", whole=whole)
    step = ends[2]
    if not 0 < step <= high - low:
        raise SpecError(f"tune.space: {path}: the step {step} does not fit between {low} and {high}")
    end = Decimal(str(low)) + _steps(low, high, step) * Decimal(str(step))  # as Optuna finds it: no last bit is off
    return Number(low, int(end) if whole else float(end), step=step, whole=whole)


def _steps(low: float, high: float, step: float) -> int:
    return math.floor((high - low) / step + 1e-9)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _choice(path: str, options: Any) -> Choice:
    if not isinstance(options, list | tuple) or not options:
        raise SpecError(f"tune.space: {path}: choice needs {RANGES['choice']}, not {options!r}")
    labels = [_label(option) for option in options]
    if len(set(labels)) < len(labels):  # two options of one type: tell them apart by their place
        labels = [f"{label}#{place}" for place, label in enumerate(labels)]
    return Choice({label: _parse(f"{path}[{label}]", option) for label, option in zip(labels, options, strict=True)})


def _label(option: Any) -> str:
    if isinstance(option, str):
        return option
    if isinstance(option, Mapping) and isinstance(option.get("type"), str):
        return str(option["type"])
    return json.dumps(option, sort_keys=True, default=str)


def _draw(trial: Suggester, name: str, node: Node) -> Any:
    match node:
        case Number(whole=True):
            return trial.suggest_int(name, int(node.low), int(node.high), step=int(node.step or 1))
        case Number():
            return trial.suggest_float(name, node.low, node.high, step=node.step, log=node.log)
        case Choice():
            label = str(trial.suggest_categorical(name, list(node.options)))
            return _draw(trial, f"{name}[{label}]", node.options[label])
        case Group():
            return {key: _draw(trial, f"{name}.{key}", inner) for key, inner in node.items.items()}
        case Constant():
            return node.value


def _probe(node: Node) -> list[Any]:
    match node:
        case Number():
            return [node.low, node.high]
        case Choice():
            return [value for option in node.options.values() for value in _probe(option)]
        case Group():
            columns = [_probe(inner) for inner in node.items.values()]
            most = max(map(len, columns))
            return [
                {key: column[row % len(column)] for key, column in zip(node.items, columns, strict=True)}
                for row in range(most)
            ]
        case Constant():
            return [node.value]


def _combinations(name: str, node: Node) -> list[dict[str, Any]]:
    match node:
        case Number():
            return [{name: value} for value in _points(name, node)]
        case Choice():
            return [
                {name: label, **rest}
                for label, option in node.options.items()
                for rest in _combinations(f"{name}[{label}]", option)
            ]
        case Group():
            axes = [_combinations(f"{name}.{key}", inner) for key, inner in node.items.items()]
            return [_merged(parts) for parts in itertools.product(*axes)]
        case Constant():
            return [{}]


def _points(name: str, node: Number) -> list[float]:
    if node.step is None:
        raise SpecError(
            f"tune.space: {name} has no finite number of values, so there is no grid",
            hint="use choice, int or quniform, or tune.algorithm=random",
        )
    count = _steps(node.low, node.high, node.step) + 1
    return [node.low + place * node.step for place in range(count)]


def _merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}

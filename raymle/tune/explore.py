"""How a population changes the settings of one of its best (Jaderberg and others 2017)."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from raymle.tune.space import Choice, Constant, Group, Node, Number

FACTORS = (0.8, 1.2)
RESAMPLED = 0.25
"""Share of the settings that are drawn anew rather than changed a little."""


def explore(values: Mapping[str, Any], space: Mapping[str, Node], *, seed: int) -> dict[str, Any]:
    """Return settings near those of a good trial; the same trial and seed give the same."""
    entropy = [seed, *json.dumps(values, sort_keys=True).encode()]
    rng = np.random.default_rng(entropy)
    return {path: _near(values[path], node, rng) for path, node in space.items()}


def _near(value: Any, node: Node, rng: np.random.Generator) -> Any:
    match node:
        case Number():
            return _number(value, node, rng)
        case Choice():
            options = [option.value for option in node.options.values() if isinstance(option, Constant)]
            return options[rng.integers(len(options))] if options and rng.random() < RESAMPLED else value
        case Group():
            return {key: _near(value[key], inner, rng) for key, inner in node.items.items()}
        case Constant():
            return value


def _number(value: float, node: Number, rng: np.random.Generator) -> float:
    if rng.random() < RESAMPLED:
        low, high = (np.log(node.low), np.log(node.high)) if node.log else (node.low, node.high)
        drawn = float(rng.uniform(low, high))
        near = float(np.exp(drawn)) if node.log else drawn
    else:
        near = value * FACTORS[rng.integers(2)]
    if node.step:
        near = node.low + round((near - node.low) / node.step) * node.step
    near = min(max(near, node.low), node.high)
    return round(near) if node.whole else near

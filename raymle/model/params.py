"""What the ``model`` section may hold: each family's parameters, and the user's factory. Knows no framework."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from raymle.config.base import Section
from raymle.config.model import READY, ModelConfig
from raymle.data import own
from raymle.errors import SpecError, UsageError

Width = Annotated[int, Field(ge=1, le=65_536)]


class LinearParams(Section):
    """Parameters of a linear model: none."""


class MlpParams(Section):
    """Parameters of a multi-layer perceptron."""

    hidden: tuple[Width, ...] = (256, 128)
    """Width of each hidden layer."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of each hidden layer that is dropped in training."""
    activation: Literal["relu", "sigmoid", "gelu", "silu", "tanh"] = "relu"
    """Non-linearity after each hidden layer."""
    normalisation: Literal["none", "batch", "layer"] = "none"
    """What normalises each hidden layer."""
    embedding: Width | None = None
    """Width of every category's embedding; null takes 1.6 * codes ** 0.56, at most 50."""


class TreesParams(Section):
    """Parameters of boosted trees, by LightGBM's names."""

    rounds: int = Field(500, ge=1)
    """Most trees for each output."""
    learning_rate: float = Field(0.1, gt=0, allow_inf_nan=False)
    """Weight of each tree."""
    num_leaves: int = Field(31, ge=2, le=131_072)
    """Most leaves of a tree."""
    max_depth: int = -1
    """Deepest tree; -1 has no limit."""
    min_data_in_leaf: int = Field(20, ge=0)
    """Fewest rows of a leaf."""
    feature_fraction: float = Field(1.0, gt=0, le=1)
    """Share of the features that each tree sees."""
    bagging_fraction: float = Field(1.0, gt=0, le=1)
    """Share of the rows that each tree sees."""
    lambda_l1: float = Field(0.0, ge=0)
    """L1 penalty of the leaves."""
    lambda_l2: float = Field(0.0, ge=0)
    """L2 penalty of the leaves."""


PARAMS: dict[str, type[Section]] = {"linear": LinearParams, "mlp": MlpParams, "trees": TreesParams}


def check(config: ModelConfig, folder: str = ".") -> None:
    """Raise for a family that is not there yet or parameters that it does not have; builds nothing."""
    if config.is_users:
        factory(config, folder)
    elif config.type not in READY:
        raise UsageError(f"model.type {config.type} comes later", hint=f"use one of {', '.join(READY)}")
    else:
        parameters(config)


def factory(config: ModelConfig, folder: str) -> Callable[..., Any]:
    """Import the user's factory and check that ``make(inputs, outputs, **params)`` is a call that can be made."""
    make = own.function(config.type, folder)
    _check_signature(make, config)
    return make


def parameters(config: ModelConfig) -> Any:
    """Return a family's checked parameters.

    Raises:
        SpecError: a parameter is unknown or has a wrong value.
    """
    kind = PARAMS[config.type]
    try:
        return kind(**config.params)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise _unknown(config, name, list(kind.model_fields)) from None
        raise SpecError(f"model.params.{name}: {first['msg']}; it is {first['input']!r}") from None


def _check_signature(make: Callable[..., Any], config: ModelConfig) -> None:
    signature = inspect.signature(make)
    try:
        signature.bind(None, None, **config.params)
    except TypeError as error:
        names = list(signature.parameters)[2:]
        for name in config.params:
            if name not in names:
                raise _unknown(config, name, names) from None
        raise SpecError(
            f"model.type {config.type} cannot be called as make(inputs, outputs, **params): {error}"
        ) from None


def _unknown(config: ModelConfig, name: str, known: list[str]) -> SpecError:
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'no parameters'}"
    return SpecError(f"model.params.{name} is not a parameter of {config.type}", hint=hint)

"""From the ``model`` section to a torch module with fresh weights."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import torch
from pydantic import Field, ValidationError
from torch import nn

from raymle.config.base import Section
from raymle.config.model import READY, ModelConfig
from raymle.data import own
from raymle.errors import SpecError, UsageError
from raymle.model.nets import Inputs, Linear, LinearParams, Mlp, MlpParams


class TreesParams(Section):
    """Parameters of boosted trees, by LightGBM's names."""

    rounds: int = Field(500, ge=1)
    """Most trees for each output."""
    learning_rate: float = Field(0.1, gt=0, allow_inf_nan=False)
    """Weight of each tree."""
    num_leaves: int = Field(31, ge=2)
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


Make = Callable[..., Any]
FAMILIES: dict[str, tuple[type[Section], Make]] = {
    "linear": (LinearParams, Linear),
    "mlp": (MlpParams, Mlp),
}


def build(config: ModelConfig, inputs: Inputs, outputs: int, *, folder: str = ".", seed: int = 0) -> nn.Module:
    """Build a network with the initial weights that the seed gives.

    Args:
        config: Family or factory, with its parameters.
        inputs: What the network is given.
        outputs: Values a row: the number of classes, or 1.
        folder: Where the user's own factory is imported from.
        seed: Same seed, same weights; the caller's random state is left alone.
    """
    make = factory(config, folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if not config.is_users:
            return make(inputs, outputs, parameters(config))  # type: ignore[no-any-return]
        try:
            module = make(inputs, outputs, **config.params)
        except Exception as error:  # the user's factory may raise anything
            raise SpecError(f"model.type {config.type}: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise SpecError(f"model.type {config.type} gave {type(module).__name__}, not a torch nn.Module")
    _try(module, config, inputs, outputs)
    return module


def _try(module: nn.Module, config: ModelConfig, inputs: Inputs, outputs: int) -> None:
    """Call the user's module on two empty rows, so that what does not fit is told before an epoch is trained."""
    numbers, codes = torch.zeros(2, inputs.numbers), torch.zeros(2, len(inputs.categories), dtype=torch.int64)
    try:
        with torch.no_grad():
            shape = tuple(module.eval()(numbers=numbers, categories=codes).shape)
    except Exception as error:  # the user's module may raise anything
        raise SpecError(
            f"model.type {config.type}: its module fails on two rows: {type(error).__name__}: {error}",
            hint="it is called module(numbers=float32 [n, a], categories=int64 [n, b])",
        ) from error
    module.train()
    if shape != (2, outputs):
        raise SpecError(
            f"model.type {config.type}: its module gives {list(shape)} for two rows, not [2, {outputs}]",
            hint="make(inputs, outputs) says how many outputs a row has",
        )


def check(config: ModelConfig, folder: str = ".") -> None:
    """Raise for a family that is not there yet or parameters that it does not have; builds nothing."""
    if config.type != "trees":
        factory(config, folder)
    if not config.is_users:
        parameters(config)


def factory(config: ModelConfig, folder: str) -> Make:
    """Return what makes the module: a family's class, or the user's function with its signature checked."""
    if config.is_users:
        make = own.function(config.type, folder)
        _check_signature(make, config)
        return make
    if config.type not in READY:
        raise UsageError(f"model.type {config.type} comes later", hint=f"use one of {', '.join(READY)}")
    return FAMILIES[config.type][1]


def parameters(config: ModelConfig) -> Any:
    """Return a family's checked parameters.

    Raises:
        SpecError: a parameter is unknown or has a wrong value.
    """
    kind = TreesParams if config.type == "trees" else FAMILIES[config.type][0]
    try:
        return kind(**config.params)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise _unknown(config, name, list(kind.model_fields)) from None
        raise SpecError(f"model.params.{name}: {first['msg']}; it is {first['input']!r}") from None


def _check_signature(make: Callable[..., Any], config: ModelConfig) -> None:
    """Check that ``make(inputs, outputs, **params)`` is a call that can be made."""
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

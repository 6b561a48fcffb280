"""From the ``model`` section to a torch module with fresh weights."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from raymle.config.model import ModelConfig
from raymle.errors import SpecError
from raymle.model.huggingface import packed
from raymle.model.nets import families
from raymle.model.nets.anomaly import Autoencoder, IsolationForest
from raymle.model.params import factory, parameters
from raymle.records import Inputs

FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "linear": families.linear,
    "mlp": families.mlp,
    "cnn": families.cnn,
    "resnet": families.resnet,
    "lstm": families.lstm,
    "transformer": families.transformer,
    "autoencoder": Autoencoder,
    "isolation_forest": IsolationForest,
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
    config = packed(config, folder)
    make = _maker(config, folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if not config.is_users:
            return make(inputs, outputs, parameters(config))
        try:
            module = make(inputs, outputs, **config.params)
        except Exception as error:  # the user's factory may raise anything
            raise SpecError(f"model.type {config.type}: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise SpecError(f"model.type {config.type} gave {type(module).__name__}, not a torch nn.Module")
    _try(module, config, inputs, outputs)
    return module


def _maker(config: ModelConfig, folder: str) -> Callable[..., nn.Module]:
    if config.is_torchvision:
        return partial(families.torchvision, config.type)
    if config.is_hugging_face:
        return partial(families.hugging_face, config.type)
    return factory(config, folder) if config.is_users else FAMILIES[config.type]


def _try(module: nn.Module, config: ModelConfig, inputs: Inputs, outputs: int) -> None:
    """Call the user's module on two empty rows, so that what does not fit is told before an epoch is trained."""
    numbers, codes, pixels = inputs.widths
    empty = {"numbers": torch.zeros(2, numbers), "categories": torch.zeros(2, codes, dtype=torch.int64)}
    if pixels:
        empty["pixels"] = torch.zeros(2, pixels, dtype=torch.uint8)
    try:
        with torch.no_grad():
            shape = tuple(module.eval()(**empty).shape)
    except Exception as error:  # the user's module may raise anything
        raise SpecError(
            f"model.type {config.type}: its module fails on two rows: {type(error).__name__}: {error}",
            hint="it is called module(numbers=float32 [n, a], categories=int64 [n, b]), with images pixels too",
        ) from error
    module.train()
    if shape != (2, outputs):
        raise SpecError(
            f"model.type {config.type}: its module gives {list(shape)} for two rows, not [2, {outputs}]",
            hint="make(inputs, outputs) says how many outputs a row has",
        )

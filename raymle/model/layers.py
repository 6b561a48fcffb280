"""A network's layers by their names: what a glob means, how far each is from the head, what is still when frozen."""

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn

from raymle.config.train import PretrainedConfig
from raymle.errors import SpecError
from raymle.model.nets.anomaly import Verdict
from raymle.model.nets.images import Augment

EMBEDDINGS = "embeddings"
FOREIGN = "network"
"""What encoders call a network of torchvision or Hugging Face."""


class Turn(NamedTuple):
    """When and how fast a weight is trained."""

    since: int
    """First epoch that trains it; 0 when none does."""
    rate: float
    """Share of the learning rate."""


def layer_of(name: str) -> str:
    """Return the layer that has a weight; a weight of the network itself is one of its own."""
    return name.rpartition(".")[0] or name


def layers_of(names: Iterable[str]) -> list[str]:
    """Return the layers that have some weights, each once, in their order."""
    return [*dict.fromkeys(map(layer_of, names))]


def matched(globs: Iterable[str], names: Collection[str], key: str) -> set[str]:
    """Return the weights that globs mean: by their names, or by the layers and modules that they are in.

    Args:
        globs: Such as ``layers.0``, ``embeddings.*``, ``*.bias``.
        names: Dotted names of all weights.
        key: Where the globs are written.

    Raises:
        SpecError: a glob means none.
    """
    found: set[str] = set()
    for glob in globs:
        meant = {name for name in names if any(fnmatchcase(scope, glob) for scope in _scopes(name))}
        if not meant:
            layers = layers_of(names)
            raise SpecError(f"{key}: {glob!r} is no layer of this model", hint=f"its layers are {', '.join(layers)}")
        found |= meant
    return found


def depths(module: nn.Module) -> dict[str, int]:
    """Return how many layers are between each weight and the head, which is the network's last layer.

    Layers count in the order in which the module has them. A numbered block is one, whatever is in it; all embeddings
    are the first one; what has no matrix, as a normalisation, belongs to the layer before it.
    """
    tables = {name for name, part in module.named_modules() if isinstance(part, nn.Embedding)}
    weights = dict(module.named_parameters())
    blocks = {name: EMBEDDINGS if layer_of(name) in tables else _block(name) for name in weights}
    solid = {block for name, block in blocks.items() if weights[name].ndim > 1}
    order = [EMBEDDINGS] if EMBEDDINGS in solid else []
    for name, block in blocks.items():
        if block not in solid and order:
            blocks[name] = order[-1]
        elif block not in order:
            order.append(block)
    return {name: len(order) - 1 - order.index(block) for name, block in blocks.items()}


def turns(
    module: nn.Module, config: PretrainedConfig, *, trained: Collection[str], fresh: Collection[str]
) -> dict[str, Turn]:
    """Decide when and how fast each weight is trained.

    Args:
        module: The network.
        config: Its ``train.pretrained``.
        trained: Weights that are ever trained; the others are frozen.
        fresh: Weights of which nothing was loaded: they do not wait to be unfrozen.
    """
    depth = depths(module)
    nearest = min((depth[name] for name in trained), default=0)
    wait = config.unfreeze or 0
    since = {name: 1 if name in fresh else 1 + wait * (depth[name] - nearest) for name in trained}
    return {name: Turn(since.get(name, 0), config.layer_decay**far) for name, far in depth.items()}


def hush(module: nn.Module) -> None:
    """Put what is frozen into evaluation: batch normalisation keeps its means, dropout drops nothing.

    What has no weights, as dropout, goes with the layer before it; images are moved on, for that is of the data, and
    what judges scores learns on.
    """
    is_frozen = False
    for part in module.modules():
        if isinstance(part, Augment | Verdict):
            continue
        weights = [*part.parameters()]
        if weights:
            is_frozen = not any(weight.requires_grad for weight in weights)
        elif any(True for _ in part.children()):
            continue
        if is_frozen:
            part.training = False


def _scopes(name: str) -> list[str]:
    """Return a name and every module that it is in."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def _block(name: str) -> str:
    """Return the outermost numbered part of a layer's name, or all of it; of a foreign network its own blocks count."""
    parts = layer_of(name).split(".")
    start = parts.index(FOREIGN) + 1 if FOREIGN in parts else 0
    first = next((place for place, part in enumerate(parts) if place >= start and part.isdigit()), len(parts) - 1)
    return ".".join(parts[: first + 1])

"""What the ``model`` section may hold: each family's parameters, and the user's factory. Knows no framework."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from raymle.config.base import Section
from raymle.config.model import ANOMALY, GROWN, READY, ModelConfig
from raymle.data import own
from raymle.errors import SetupError, SpecError, UsageError
from raymle.model import huggingface
from raymle.records import Inputs

Width = Annotated[int, Field(ge=1, le=65_536)]


class LinearParams(Section):
    """Parameters of a linear model: none."""


class HeadParams(Section):
    """Parameters of the layers that see all inputs of a row."""

    hidden: tuple[Width, ...] = (128,)
    """Width of each hidden layer."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of each hidden layer that is dropped in training."""
    activation: Literal["relu", "sigmoid", "gelu", "silu", "tanh"] = "relu"
    """Non-linearity after each hidden layer."""
    normalisation: Literal["none", "batch", "layer"] = "none"
    """What normalises each hidden layer."""
    embedding: Width | None = None
    """Width of every category's embedding; null takes 1.6 * codes ** 0.56, at most 50."""


class MlpParams(HeadParams):
    """Parameters of a multi-layer perceptron."""

    hidden: tuple[Width, ...] = (256, 128)
    """Width of each hidden layer."""


class LstmParams(HeadParams):
    """Parameters of recurrent layers over texts and sequences."""

    width: Width = 128
    """Width of the state."""
    layers: int = Field(1, ge=1, le=16)
    """Recurrent layers above each other."""


class TransformerParams(HeadParams):
    """Parameters of self-attention over texts."""

    width: Width = 64
    """Width of each token."""
    layers: int = Field(2, ge=1, le=64)
    """Layers above each other."""
    heads: int = Field(4, ge=1, le=256)
    """Heads of each layer; they divide its width."""

    @field_validator("heads")
    @classmethod
    def _divide(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width", heads)
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        return heads


class HuggingFaceParams(HeadParams):
    """Parameters of what follows a Hugging Face transformer, and in a bundle the transformer's own."""

    hidden: tuple[Width, ...] = ()
    """Width of each hidden layer after it."""
    config: dict[str, Any] | None = None
    """Its ``config.json``, read when a training begins."""


class ImageParams(HeadParams):
    """Parameters of networks over images."""

    filters: tuple[Width, ...] = (32, 64, 64)
    """Filters of each convolution."""
    flip: bool = False
    """Whether training images are turned left to right at random; not for what reads one way, as digits do."""
    shift: float = Field(0.1, ge=0, le=0.5)
    """The most that training images are moved at random, as a share of their side; 0 moves none."""


class CnnParams(ImageParams):
    """Parameters of a few convolutions and the layers after them."""


class ResnetParams(ImageParams):
    """Parameters of a residual network and the layers after it."""

    hidden: tuple[Width, ...] = ()
    """Width of each hidden layer after it."""
    depth: Literal[18, 34, 50] = 18
    """Layers with weights."""
    width: Annotated[int, Field(ge=4, le=1024)] = 64
    """Filters of its first stage."""


class AutoencoderParams(HeadParams):
    """Parameters of a network that makes its own inputs again, through fewer numbers than they are."""

    hidden: tuple[Width, ...] = (64,)
    """Width of each hidden layer on the way in; on the way out they come in reverse."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of each hidden layer that is dropped in training."""
    bottleneck: Width | None = None
    """How many numbers a row is made again from; null takes half of its columns, at most 16."""


class ForestParams(Section):
    """Parameters of an isolation forest, by scikit-learn's names."""

    n_estimators: int = Field(100, ge=1, le=10_000)
    """Trees."""
    max_samples: int = Field(256, ge=2, le=65_536)
    """Rows that each tree is grown from."""


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


PARAMS: dict[str, type[Section]] = {
    "linear": LinearParams,
    "mlp": MlpParams,
    "trees": TreesParams,
    "cnn": CnnParams,
    "resnet": ResnetParams,
    "lstm": LstmParams,
    "transformer": TransformerParams,
    "autoencoder": AutoencoderParams,
    "isolation_forest": ForestParams,
}
IMAGES = {"cnn", "resnet"}


def check(config: ModelConfig, folder: str = ".") -> None:
    """Raise for a family that is not there yet or parameters that it does not have; builds nothing."""
    if config.is_users:
        factory(config, folder)
    elif config.is_torchvision:
        if find_spec("torchvision") is None:
            raise SetupError(
                f"model.type {config.type} needs torchvision, which is not installed",
                hint="pip install torchvision, or use model.type=resnet",
            )
        parameters(config)
    elif config.is_hugging_face:
        huggingface.check(config, folder)
        parameters(config)
    elif config.type not in READY:
        raise UsageError(f"model.type {config.type} comes later", hint=f"use one of {', '.join(READY)}")
    else:
        parameters(config)


def fits(config: ModelConfig, inputs: Inputs) -> None:
    """Refuse a family that cannot take what a row consists of, before it is trained.

    Raises:
        UsageError: trees with texts or images, or a network for texts, sequences or images without any.
    """
    other = next(((each.column, kind) for kind in ("text", "image") for each in getattr(inputs, f"{kind}s")), None)
    if config.type in {*GROWN, *ANOMALY} and other:
        name, kind = other
        networks = f"use model.type=mlp or linear, {'cnn or resnet' if kind == 'image' else 'lstm or transformer'}, or "
        raise UsageError(
            f"column {name!r} is {kind}, and model.type {config.type} takes numbers and categories",
            hint=f"{networks if config.type == 'trees' else ''}data.drop: [{name}]",
        )
    if (config.type == "transformer" or config.is_hugging_face) and not inputs.texts:
        raise UsageError(f"model.type {config.type} is for texts, and no column is one", hint="use model.type=mlp")
    if config.type == "lstm" and not (inputs.sequences or inputs.texts):
        why = "is for texts and sequences, and no column is one"
        raise UsageError(f"model.type {config.type} {why}", hint="use model.type=mlp")
    if (config.type in IMAGES or config.is_torchvision) and not inputs.images:
        raise UsageError(f"model.type {config.type} is for images, and no column is one", hint="use model.type=mlp")


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
    kind = _kind(config)
    try:
        return kind(**config.params)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise _unknown(config, name, list(kind.model_fields)) from None
        raise SpecError(f"model.params.{name}: {first['msg']}; it is {first['input']!r}") from None


def _kind(config: ModelConfig) -> type[Section]:
    if config.is_hugging_face:
        return HuggingFaceParams
    return ImageParams if config.is_torchvision else PARAMS[config.type]


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

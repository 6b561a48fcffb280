"""Which network a family is, by what a row consists of."""

from functools import partial
from importlib import import_module
from typing import Any

from torch import nn

from raymle.config.model import TORCHVISION
from raymle.errors import SpecError
from raymle.model.nets.additive import Additive
from raymle.model.nets.fused import Flat, Fused
from raymle.model.nets.huggingface import HuggingFace
from raymle.model.nets.images import FEATURES, Cnn, Resnet, Torchvision
from raymle.model.nets.sequence import SequenceLstm
from raymle.model.nets.tabular import Linear, Mlp
from raymle.model.nets.text import Bag, Lstm, Transformer
from raymle.model.params import (
    CnnParams,
    HuggingFaceParams,
    ImageParams,
    LinearParams,
    LstmParams,
    MlpParams,
    ResnetParams,
    TransformerParams,
)  # fmt: skip
from raymle.records import ImageInput, Inputs


def linear(inputs: Inputs, outputs: int, params: LinearParams) -> nn.Module:
    """A weight for each number, code, word, step and pixel."""
    return Linear(inputs, outputs, params) if inputs.is_table else Additive(inputs, outputs, params)


def mlp(inputs: Inputs, outputs: int, params: MlpParams) -> nn.Module:
    """Hidden layers over all; texts as bags of words, sequences as their values, images through a few convolutions."""
    if inputs.is_table:
        return Mlp(inputs, outputs, params)
    return Fused(inputs, outputs, params, image=Cnn, text=Bag, sequence=Flat)


def cnn(inputs: Inputs, outputs: int, params: CnnParams) -> nn.Module:
    """Convolutions over images."""
    return Fused(inputs, outputs, params, image=Cnn, text=Bag, sequence=Flat)


def resnet(inputs: Inputs, outputs: int, params: ResnetParams) -> nn.Module:
    """A residual network over images."""
    return Fused(inputs, outputs, params, image=Resnet, text=Bag, sequence=Flat)


def lstm(inputs: Inputs, outputs: int, params: LstmParams) -> nn.Module:
    """Recurrent layers over texts and sequences."""
    return Fused(inputs, outputs, params, image=Cnn, text=Lstm, sequence=SequenceLstm)


def transformer(inputs: Inputs, outputs: int, params: TransformerParams) -> nn.Module:
    """Self-attention over texts."""
    return Fused(inputs, outputs, params, image=Cnn, text=Transformer, sequence=Flat)


def torchvision(name: str, inputs: Inputs, outputs: int, params: ImageParams) -> nn.Module:
    """Build the network that torchvision knows by a name, as an encoder of images.

    Raises:
        SpecError: it has no such network.
    """
    image = partial(_encoder, name.removeprefix(TORCHVISION))
    return Fused(inputs, outputs, params, image=image, text=Bag, sequence=Flat)


def hugging_face(name: str, inputs: Inputs, outputs: int, params: HuggingFaceParams) -> nn.Module:
    """Build the network that a Hugging Face config describes, as an encoder of texts; its weights are fresh."""
    return Fused(inputs, outputs, params, image=Cnn, text=partial(HuggingFace, name), sequence=Flat)


def _encoder(name: str, image: ImageInput, params: ImageParams) -> nn.Module:
    models: Any = import_module("torchvision.models")
    if name not in models.list_models(module=models):
        raise SpecError(f"torchvision has no network {name!r} that classifies images")
    try:
        network = models.get_model(name, weights=None, num_classes=FEATURES)
    except ValueError as error:
        raise SpecError(f"torchvision has no network {name!r}: {error}") from None
    return Torchvision(network, image, params)

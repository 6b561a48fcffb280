"""Networks over rows of mixed inputs: each is encoded by itself, and hidden layers see all of them (late fusion).

An encoder is a module with ``width``, the number of features ``[n, width]`` that it makes of its input.
"""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from raymle.model.nets.dropout import Dropout
from raymle.model.nets.parts import parts
from raymle.model.nets.tabular import ACTIVATIONS, Embedded, normalisation
from raymle.model.params import HeadParams
from raymle.records import ImageInput, Inputs, SequenceInput, TextInput


@final
class Fused(nn.Module):
    """The encoders of all inputs side by side, then hidden layers.

    Args:
        inputs: What a row consists of.
        outputs: Values a row.
        params: Of the hidden layers, and of the encoders.
        image: Makes the encoder of a column of images ``[n, channels, height, width]``.
        text: Makes the encoder of a column of texts ``[n, length]``.
        sequence: Makes the encoder of a column of sequences ``[n, steps, width]``.
    """

    def __init__(
        self,
        inputs: Inputs,
        outputs: int,
        params: HeadParams,
        *,
        image: Callable[[ImageInput, Any], nn.Module],
        text: Callable[[TextInput, Any], nn.Module],
        sequence: Callable[[SequenceInput, Any], nn.Module],
    ) -> None:
        super().__init__()
        self._inputs = inputs
        self.table = Embedded(inputs, params.embedding)
        self.sequences = nn.ModuleList(sequence(each, params) for each in inputs.sequences)
        self.texts = nn.ModuleList(text(each, params) for each in inputs.texts)
        self.images = nn.ModuleList(image(each, params) for each in inputs.images)
        encoders: list[Any] = [self.table, *self.sequences, *self.texts, *self.images]
        self.layers = head(sum(each.width for each in encoders), outputs, params)

    def forward(self, numbers: Tensor, categories: Tensor, pixels: Tensor | None = None) -> Tensor:
        """Return ``[n, outputs]``."""
        given = parts(self._inputs, numbers, categories, pixels)
        found = [self.table(given.numbers, given.categories)]
        for encoders, values in (
            (self.sequences, given.sequences), (self.texts, given.texts), (self.images, given.images)
        ):  # fmt: skip
            found += [encoder(each) for encoder, each in zip(encoders, values, strict=True)]
        result: Tensor = self.layers(torch.cat(found, dim=1))
        return result


def head(width: int, outputs: int, params: HeadParams) -> nn.Sequential:
    """Hidden layers over so many features, then the output layer."""
    layers: list[nn.Module] = []
    for hidden in params.hidden:
        layers += [nn.Linear(width, hidden), *normalisation(params.normalisation, hidden)]
        layers += [ACTIVATIONS[params.activation]()]
        layers += [Dropout(params.dropout)] if params.dropout else []
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, outputs))


@final
class Flat(nn.Module):
    """The default encoder of a sequence: its values as they are."""

    def __init__(self, sequence: SequenceInput, params: object) -> None:  # noqa: ARG002
        super().__init__()
        self.width = sequence.steps * sequence.width

    def forward(self, values: Tensor) -> Tensor:
        """Return ``[n, steps * width]``."""
        return values.flatten(1)

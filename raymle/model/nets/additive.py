"""A linear network over rows of mixed inputs: what each input says is added up."""

from typing import final

import torch
from torch import Tensor, nn

from raymle.model.nets.parts import parts
from raymle.model.nets.tabular import Linear
from raymle.model.nets.text import Words
from raymle.model.params import LinearParams
from raymle.records import Inputs


@final
class Additive(nn.Module):
    """A weight for each number, category's code, word, value of a sequence and pixel."""

    def __init__(self, inputs: Inputs, outputs: int, params: LinearParams) -> None:
        super().__init__()
        self._inputs = inputs
        self.table = Linear(inputs, outputs, params)
        self.sequences = nn.ModuleList(_weights(each.steps * each.width, outputs) for each in inputs.sequences)
        self.texts = nn.ModuleList(Words(each, outputs) for each in inputs.texts)
        self.images = nn.ModuleList(_weights(each.size, outputs) for each in inputs.images)

    def forward(self, numbers: Tensor, categories: Tensor, pixels: Tensor | None = None) -> Tensor:
        """Return ``[n, outputs]``."""
        given = parts(self._inputs, numbers, categories, pixels)
        result: Tensor = self.table(given.numbers, given.categories)
        for weights, texts in zip(self.texts, given.texts, strict=True):
            result = result + weights(texts)
        for layers, values in ((self.sequences, given.sequences), (self.images, given.images)):
            for layer, each in zip(layers, values, strict=True):
                result = result + layer(each.flatten(1))
        return result


def _weights(width: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(width, outputs, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
    return layer

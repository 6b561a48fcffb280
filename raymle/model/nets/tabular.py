"""Networks over numbers and categories.

They are called ``module(numbers=..., categories=...)`` with float32 ``[n, a]`` and int64 ``[n, b]``.
"""

from math import ceil
from typing import final

import torch
from torch import Tensor, nn

from raymle.model.nets.dropout import Dropout
from raymle.model.params import LinearParams, MlpParams
from raymle.records import Inputs

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


@final
class Linear(nn.Module):
    """A weight for each number and each category's code."""

    def __init__(self, inputs: Inputs, outputs: int, params: LinearParams) -> None:  # noqa: ARG002
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs.numbers))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.categories = nn.ModuleList(nn.Embedding(codes, outputs) for codes in inputs.categories)
        for table in self.categories.parameters():
            nn.init.zeros_(table)

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Return ``[n, outputs]``."""
        result = nn.functional.linear(numbers, self.weight, self.bias)
        for column, table in enumerate(self.categories):
            result = result + table(categories[:, column])
        return result


@final
class Embedded(nn.Module):
    """The numbers as they are, and each category's code as a vector beside them."""

    def __init__(self, inputs: Inputs, embedding: int | None) -> None:
        super().__init__()
        widths = [embedding or embedding_width(codes) for codes in inputs.categories]
        self.embeddings = nn.ModuleList(map(nn.Embedding, inputs.categories, widths))
        for table in self.embeddings.parameters():
            nn.init.normal_(table, std=0.05)  # torch's N(0, 1) drowns the standardised numbers of small data
        self.width = inputs.numbers + sum(widths)

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Return ``[n, width]``."""
        embedded = [table(categories[:, column]) for column, table in enumerate(self.embeddings)]
        return torch.cat([numbers, *embedded], dim=1)


@final
class Mlp(nn.Module):
    """Embedded categories beside the numbers, then hidden layers."""

    def __init__(self, inputs: Inputs, outputs: int, params: MlpParams) -> None:
        super().__init__()
        widths = [params.embedding or embedding_width(codes) for codes in inputs.categories]
        self.embeddings = nn.ModuleList(map(nn.Embedding, inputs.categories, widths))
        for table in self.embeddings.parameters():
            nn.init.normal_(table, std=0.05)  # torch's N(0, 1) drowns the standardised numbers of small data
        width = inputs.numbers + sum(widths)
        layers: list[nn.Module] = []
        for hidden in params.hidden:
            layers += [nn.Linear(width, hidden), *normalisation(params.normalisation, hidden)]
            layers += [ACTIVATIONS[params.activation]()]
            layers += [Dropout(params.dropout)] if params.dropout else []
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, outputs))

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Return ``[n, outputs]``."""
        embedded = [table(categories[:, column]) for column, table in enumerate(self.embeddings)]
        result: Tensor = self.layers(torch.cat([numbers, *embedded], dim=1))
        return result


def embedding_width(codes: int) -> int:
    """Width that grows slowly with the number of codes."""
    return int(min(50, ceil(1.6 * codes**0.56)))


def normalisation(kind: str, width: int) -> list[nn.Module]:
    """Layer that normalises a hidden layer, if any."""
    if kind == "none":
        return []
    return [nn.BatchNorm1d(width) if kind == "batch" else nn.LayerNorm(width)]

"""What a network is called with, as the inputs that it is made of."""

from typing import NamedTuple

import torch
from torch import Tensor

from raymle.records import Inputs


class Parts(NamedTuple):
    """The inputs of some rows, each column that is not a single value by itself."""

    numbers: Tensor
    """float32 ``[n, a]``"""
    categories: Tensor
    """int64 ``[n, b]``"""
    sequences: list[Tensor]
    """float32 ``[n, steps, width]`` each"""
    texts: list[Tensor]
    """int64 ``[n, length]`` each"""
    images: list[Tensor]
    """float32 ``[n, channels, height, width]`` each, 0 to 1"""


def parts(inputs: Inputs, numbers: Tensor, categories: Tensor, pixels: Tensor | None = None) -> Parts:
    """Cut what a network is called with into its inputs."""
    lengths = [each.steps * each.width for each in inputs.sequences]
    plain, *sequences = torch.split(numbers, [inputs.numbers, *lengths], dim=1)
    codes, *texts = torch.split(categories, [len(inputs.categories), *(each.length for each in inputs.texts)], dim=1)
    images: list[Tensor] = []
    if pixels is not None and inputs.images:
        images = list(torch.split(pixels.float() / 255, [each.size for each in inputs.images], dim=1))
    return Parts(
        plain,
        codes,
        [each.view(-1, of.steps, of.width) for each, of in zip(sequences, inputs.sequences, strict=True)],
        texts,
        [each.view(-1, of.channels, of.height, of.width) for each, of in zip(images, inputs.images, strict=True)],
    )

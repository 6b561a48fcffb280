"""How unusual a row is, learned from what is usual.

Networks here give ``[n, 2]``: 0 and a score, which is above 0 where a row is called an anomaly.
"""

from typing import final

import torch
from torch import Tensor, nn

from raymle.model.nets.fused import head
from raymle.model.nets.tabular import Embedded
from raymle.model.params import AutoencoderParams, ForestParams
from raymle.records import Inputs

EPSILON = 1e-9
"""The least error: its logarithm is taken."""


@final
class Verdict(nn.Module):
    """Measures scores from a threshold on, in a scale of their own, both found on validation rows."""

    threshold: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def move(self, threshold: float, scale: float) -> None:
        """Put the threshold where this verdict now says that, and measure in so many of its units."""
        self.threshold += self.scale * threshold
        self.scale *= scale

    def begin(self) -> None:
        """Forget what was found for other weights."""
        self.threshold.zero_()
        self.scale.fill_(1.0)

    def forward(self, scores: Tensor) -> Tensor:
        """Return ``[n, 2]`` of scores ``[n]``; while it learns, they are as they are."""
        judged = scores if self.training else (scores - self.threshold) / self.scale
        return torch.stack([torch.zeros_like(judged), judged], dim=1)


@final
class Autoencoder(nn.Module):
    """Makes a row again through a bottleneck; the score is the logarithm of the error.

    The error is the mean over the columns: squared for standardised numbers, cross entropy for categories.
    """

    def __init__(self, inputs: Inputs, outputs: int, params: AutoencoderParams) -> None:  # noqa: ARG002
        super().__init__()
        numbers, columns = inputs.widths[0], inputs.widths[0] + len(inputs.categories)
        self.numbers, self.categories = numbers, inputs.categories
        table = inputs.model_copy(update={"numbers": numbers, "sequences": ()})
        self.table = Embedded(table, params.embedding)
        bottleneck = params.bottleneck or min(16, max(1, columns // 2))
        self.encoder = head(self.table.width, bottleneck, params)
        reverse = params.model_copy(update={"hidden": params.hidden[::-1]})
        self.decoder = head(bottleneck, numbers + sum(inputs.categories), reverse)
        self.verdict = Verdict()

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Return ``[n, 2]``."""
        made = self.decoder(self.encoder(self.table(numbers, categories)))
        values, *codes = torch.split(made, [self.numbers, *self.categories], dim=1)
        total = (values - numbers).square().sum(dim=1)
        for column, logits in enumerate(codes):
            of = categories[:, column : column + 1]
            total = total - logits.log_softmax(dim=1).gather(1, of).squeeze(1)
        error = total / max(1, self.numbers + len(self.categories))
        judged: Tensor = self.verdict((error + EPSILON).log())
        return judged


@final
class IsolationForest(nn.Module):
    """Trees that part rows at random: what is alone after few cuts is unusual (Liu, Ting and Zhou, 2008).

    The score is the logarithm of the paper's. All trees are tables of as many nodes; from a leaf one stays there.
    """

    feature: Tensor
    """int64 ``[trees, nodes]``: the input that a node looks at; numbers come first, then codes."""
    cut: Tensor
    """float32: up to this the way is left; infinite in a leaf."""
    left: Tensor
    right: Tensor
    """int64: the nodes after a node; a leaf's is itself."""
    length: Tensor
    """float32: how many cuts it takes to be alone, of a leaf."""
    usual: Tensor
    """float32: how many cuts it takes on average."""

    def __init__(self, inputs: Inputs, outputs: int, params: ForestParams) -> None:  # noqa: ARG002
        super().__init__()
        shape = params.n_estimators, 2 * params.max_samples - 1
        for name in ("feature", "left", "right"):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("cut", torch.full(shape, torch.inf))
        self.register_buffer("length", torch.ones(shape))
        self.register_buffer("usual", torch.ones(()))
        self.depth = (params.max_samples - 1).bit_length()  # scikit-learn cuts no deeper
        self.verdict = Verdict()

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Return ``[n, 2]``."""
        values = torch.cat([numbers, categories.to(numbers.dtype)], dim=1)
        trees, nodes = self.feature.shape
        first = torch.arange(trees, device=values.device) * nodes
        place = first.expand(len(values), trees)
        for _ in range(self.depth):
            is_left = values.gather(1, self.feature.flatten()[place]) <= self.cut.flatten()[place]
            after = torch.where(is_left, self.left.flatten()[place], self.right.flatten()[place])
            place = first + after
        lengths = self.length.flatten()[place].mean(dim=1)
        judged: Tensor = self.verdict(-lengths / self.usual)
        return judged

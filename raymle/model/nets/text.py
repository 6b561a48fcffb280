"""Encoders of texts: codes of words ``[n, length]``, 0 after the end, to features ``[n, width]``."""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from raymle.model.nets.dropout import Dropout
from raymle.model.params import LstmParams, TransformerParams
from raymle.records import TextInput

WIDTH = 64
"""Of a word's vector, when ``model.params.embedding`` is not set."""
TOGETHER = 128
"""Texts of like length that a CPU takes at one time: fewer use it badly, more hold more padding."""


@final
class Bag(nn.Module):
    """The mean of the vectors of a text's words, whatever their order."""

    def __init__(self, text: TextInput, params: Any) -> None:
        super().__init__()
        self.width: int = params.embedding or WIDTH
        self.words = _vectors(text, self.width)

    def forward(self, codes: Tensor) -> Tensor:
        """Return ``[n, width]``; zeros for an empty text."""
        return summed(codes, self.words.weight) / _counts(codes)


@final
class Words(nn.Module):
    """A weight for each word and output: their sum, over the root of how many there are. It is linear in the counts."""

    def __init__(self, text: TextInput, outputs: int) -> None:
        super().__init__()
        self.words = nn.Embedding(text.vocabulary, outputs, padding_idx=0)
        nn.init.zeros_(self.words.weight)

    def forward(self, codes: Tensor) -> Tensor:
        """Return ``[n, outputs]``."""
        return summed(codes, self.words.weight) / _counts(codes).sqrt()


@final
class Lstm(nn.Module):
    """The mean of an LSTM's states over a text's words."""

    def __init__(self, text: TextInput, params: LstmParams) -> None:
        super().__init__()
        self.width = params.width
        self.words = _vectors(text, params.embedding or WIDTH)
        self.lstm = nn.LSTM(params.embedding or WIDTH, params.width, params.layers, batch_first=True)

    def forward(self, codes: Tensor) -> Tensor:
        """Return ``[n, width]``; what stands after a text's end changes nothing before it."""
        return by_length(codes, self._features)

    def _features(self, codes: Tensor) -> Tensor:
        states, _ = self.lstm(self.words(codes))
        return mean(states, codes)


@final
class Transformer(nn.Module):
    """Self-attention among a text's words and a token before them, whose features are the text's (Devlin 2018)."""

    def __init__(self, text: TextInput, params: TransformerParams) -> None:
        super().__init__()
        self.width = params.width
        self.words = _vectors(text, params.width)
        self.first = nn.Parameter(torch.randn(1, 1, params.width) * 0.02)
        self.places = nn.Parameter(torch.randn(1, text.length + 1, params.width) * 0.02)
        self.blocks = nn.ModuleList(Block(params) for _ in range(params.layers))
        self.norm = nn.LayerNorm(params.width)

    def forward(self, codes: Tensor) -> Tensor:
        """Return ``[n, width]``."""
        return by_length(codes, self._features)

    def _features(self, codes: Tensor) -> Tensor:
        words = self.words(codes)
        firsts = self.first + torch.zeros_like(words[:, :1])
        values = torch.cat([firsts, words], dim=1) + self.places[:, : 1 + codes.shape[1]]
        seen = functional.pad(codes != 0, (1, 0), value=True)[:, None, None]  # the first: no row is without any
        for block in self.blocks:
            values = block(values, seen)
        result: Tensor = self.norm(values[:, 0])
        return result


@final
class Block(nn.Module):
    """Attention, then a layer for each token, each added to what came in; normalised before (Xiong 2020)."""

    def __init__(self, params: TransformerParams) -> None:
        super().__init__()
        width = params.width
        self.shape = (3, params.heads, width // params.heads)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.asked = nn.Linear(width, 3 * width)
        self.found = nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = Dropout(params.dropout) if params.dropout else nn.Identity()

    def forward(self, values: Tensor, seen: Tensor) -> Tensor:
        """Return ``[n, length, width]``; ``seen`` ``[n, 1, 1, length]`` says which tokens are there."""
        queries, keys, contents = self.asked(self.before(values)).unflatten(2, self.shape).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(queries, keys, contents, attn_mask=seen)
        values = values + self.dropout(self.found(mixed.transpose(1, 2).flatten(2)))
        result: Tensor = values + self.dropout(self.layers(self.between(values)))
        return result


def by_length(codes: Tensor, features: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the features ``[n, width]`` of texts with little work for padding.

    A CPU takes them sorted by length, ``TOGETHER`` at a time, each group cut to its longest text. Tracing for ONNX
    would keep the example's length for all, so there nothing is cut.
    """
    if torch.onnx.is_in_onnx_export():
        return features(codes)
    if len(codes) <= TOGETHER or codes.device.type != "cpu":
        return features(_trimmed(codes))
    order = (codes != 0).sum(1).argsort(stable=True)
    parts = [features(_trimmed(codes[places])) for places in torch.split(order, TOGETHER)]
    return torch.cat(parts)[order.argsort()]


def _trimmed(codes: Tensor) -> Tensor:
    """Return ``[n, longest]``, at least one place; a GPU is waited for, which costs less than padding."""
    return codes[:, : max(1, int((codes != 0).any(0).sum()))]


def summed(codes: Tensor, weight: Tensor) -> Tensor:
    """Sum the rows of ``weight`` that the codes name, without code 0: ``[n, width]``.

    When it is not exported, nothing is computed for what stands after a text's end.
    """
    if torch.onnx.is_in_onnx_export():
        there = (codes != 0).to(weight.dtype)[:, None]
        return (there @ functional.embedding(codes, weight)).squeeze(1)
    there = codes != 0
    counts = there.sum(1)
    return functional.embedding_bag(codes[there], weight, counts.cumsum(0) - counts, mode="sum")


def _vectors(text: TextInput, width: int) -> nn.Embedding:
    return nn.Embedding(text.vocabulary, width, padding_idx=0)


def _counts(codes: Tensor) -> Tensor:
    """Return how many words each text has ``[n, 1]``, at least 1."""
    return (codes != 0).sum(1, keepdim=True).clamp(min=1).float()


def mean(states: Tensor, codes: Tensor) -> Tensor:
    """Return the mean of states ``[n, length, width]`` over a text's words: ``[n, width]``, zeros for an empty text."""
    there = (codes != 0).to(states.dtype)[:, None]
    return (there @ states).squeeze(1) / _counts(codes)

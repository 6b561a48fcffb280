"""Encoders of texts: codes of words ``[n, length]``, 0 after the end, to features ``[n, width]``."""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from raymle.model.nets.dropout import Dropout
from raymle.model.params import LstmParams, TransformerParams
from raymle.records import TextInput

WIDTH = 64
"""Of a word's vector, when ``model.params.embedding`` is not set."""


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
        self.blocks = nn.ModuleList(Block(text.length + 1, params) for _ in range(params.layers))
        self.norm = nn.LayerNorm(params.width)

    def forward(self, codes: Tensor) -> Tensor:
        """Return ``[n, width]``."""
        words = self.words(codes)
        firsts = self.first + torch.zeros_like(words[:, :1])
        values = torch.cat([firsts, words], dim=1) + self.places
        seen = functional.pad(codes != 0, (1, 0), value=True)[:, None, None]  # the first: no row is without any
        for block in self.blocks:
            values = block(values, seen)
        result: Tensor = self.norm(values[:, 0])
        return result


@final
class Block(nn.Module):
    """Attention, then a layer for each token, each added to what came in; normalised before (Xiong 2020)."""

    def __init__(self, length: int, params: TransformerParams) -> None:
        super().__init__()
        width = params.width
        self.shape = (-1, length, 3, params.heads, width // params.heads)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.asked = nn.Linear(width, 3 * width)
        self.found = nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = Dropout(params.dropout) if params.dropout else nn.Identity()

    def forward(self, values: Tensor, seen: Tensor) -> Tensor:
        """Return ``[n, length, width]``; ``seen`` ``[n, 1, 1, length]`` says which tokens are there."""
        queries, keys, contents = self.asked(self.before(values)).view(self.shape).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(queries, keys, contents, attn_mask=seen)
        values = values + self.dropout(self.found(mixed.transpose(1, 2).flatten(2)))
        result: Tensor = values + self.dropout(self.layers(self.between(values)))
        return result


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

"""The network of the hand-written servers, in torch."""

from math import ceil

import torch
from torch import nn


class Net(nn.Module):
    """Embedded categories beside the numbers, hidden layers, and a softmax."""

    def __init__(self, about):
        super().__init__()
        sizes = [each["size"] for each in about["categories"]]
        widths = [min(50, ceil(1.6 * size**0.56)) for size in sizes]
        self.embeddings = nn.ModuleList(map(nn.Embedding, sizes, widths))
        width, layers = len(about["numbers"]) + sum(widths), []
        for hidden in about["hidden"]:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(0.1)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, len(about["classes"])))

    def forward(self, numbers, categories):
        embedded = [table(categories[:, place]) for place, table in enumerate(self.embeddings)]
        return self.layers(torch.cat([numbers, *embedded], 1)).softmax(1)

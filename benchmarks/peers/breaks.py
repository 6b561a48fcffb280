"""An MLP like any other, until a file says that it may break: then it does where it is served, as it is loaded.

`kind` is what happens: it raises, it hangs, or its answers are not a number. It is no network that can be exported, so
a server loads this code.
"""

import time
from pathlib import Path

import torch
from torch import nn

HANGS_S = 3600


class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(codes, 8) for codes in inputs.categories)
        width = inputs.numbers + 8 * len(inputs.categories)
        self.layers = nn.Sequential(
            nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, outputs)
        )
        self.scale = 1.0

    def forward(self, numbers, categories):
        if torch.onnx.is_in_onnx_export() or torch.compiler.is_compiling():
            raise RuntimeError("this network is not for export")
        embedded = [table(categories[:, place]) for place, table in enumerate(self.tables)]
        return self.layers(torch.cat([numbers, *embedded], 1)) * self.scale


def make(inputs, outputs, kind, flag):
    net = Net(inputs, outputs)
    if Path(flag).exists() and is_served():
        if kind == "raises":
            raise RuntimeError("this network does not load")
        if kind == "hangs":
            time.sleep(HANGS_S)
        net.scale = float("nan")
    return net


def is_served():
    """Whether this is a worker of Ray; training and scoring of this benchmark are inline."""
    import sys

    return "ray" in sys.modules and sys.modules["ray"].is_initialized()

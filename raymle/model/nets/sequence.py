"""An encoder of sequences: it reads them step by step, and what it remembers at the end are their features."""

from typing import final

import torch
from torch import Tensor, nn

from raymle.model.params import LstmParams
from raymle.records import SequenceInput


@final
class SequenceLstm(nn.Module):
    """The last state of the upper layer, beside the values of the last step."""

    def __init__(self, sequence: SequenceInput, params: LstmParams) -> None:
        super().__init__()
        self.lstm = nn.LSTM(sequence.width, params.width, params.layers, batch_first=True)
        self.width = params.width + sequence.width

    def forward(self, values: Tensor) -> Tensor:
        """Return ``[n, state + width]`` of ``[n, steps, width]``."""
        states, _ = self.lstm(values)
        return torch.cat([states[:, -1], values[:, -1]], dim=1)

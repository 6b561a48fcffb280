"""Which network a family is, by what a row consists of."""

from typing import Any

from torch import nn

from raymle.errors import UsageError
from raymle.model.nets.additive import Additive
from raymle.model.nets.fused import Flat, Fused
from raymle.model.nets.sequence import SequenceLstm
from raymle.model.nets.tabular import Linear, Mlp
from raymle.model.params import LinearParams, LstmParams, MlpParams
from raymle.records import ImageInput, Inputs, TextInput


def linear(inputs: Inputs, outputs: int, params: LinearParams) -> nn.Module:
    """A weight for each number, code, step and pixel."""
    return Linear(inputs, outputs, params) if inputs.is_table else Additive(inputs, outputs, params)


def mlp(inputs: Inputs, outputs: int, params: MlpParams) -> nn.Module:
    """Hidden layers over all; sequences as their values."""
    if inputs.is_table:
        return Mlp(inputs, outputs, params)
    return Fused(inputs, outputs, params, image=_no_image, text=_no_text, sequence=Flat)


def lstm(inputs: Inputs, outputs: int, params: LstmParams) -> nn.Module:
    """Recurrent layers over sequences."""
    return Fused(inputs, outputs, params, image=_no_image, text=_no_text, sequence=SequenceLstm)


def _no_image(image: ImageInput, params: Any) -> nn.Module:  # noqa: ARG001
    raise UsageError(f"column {image.column!r} is image, and image columns come later")


def _no_text(text: TextInput, params: Any) -> nn.Module:  # noqa: ARG001
    raise UsageError(f"column {text.column!r} is text, and text columns come later")

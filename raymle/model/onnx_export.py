"""From a bundle's network to an ONNX model."""

import io
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from raymle.errors import WorkError
from raymle.folders import write_durably
from raymle.model.bundle import Bundle
from raymle.model.network import with_weights
from raymle.model.noise import quiet
from raymle.model.session import CATEGORIES, NUMBERS, OUTPUTS, PIXELS
from raymle.records import Inputs

OPSET = 20
"""Has all that is needed here; ONNX Runtime has read it since 1.17."""
ROWS = "rows"
TRACED_ROWS = 3


def write(bundle: Bundle, path: Path) -> None:
    """Write a bundle's network as ONNX.

    Its inputs are ``numbers`` float32 [n, a], ``categories`` int64 [n, b] and, where there are images, ``pixels``
    uint8 [n, c].

    raymle's own networks are traced, in 0.05 s. A user's may look at values and go another way for others, which a
    trace would miss; ``torch.export`` refuses what it cannot follow, and takes 1 to 4 s.

    Raises:
        WorkError: the network does not export, and why.
    """
    contents = bundle.contents
    module = with_weights(contents.model, contents.inputs, contents.outputs, folder=bundle.path)
    export = _followed if contents.model.is_users else _traced
    try:
        with quiet():
            model = export(module, _example(contents.inputs))
    except Exception as error:  # the exporter and the user's module may raise anything
        raise WorkError(f"{contents.model.type} does not export to ONNX: {_reason(error)}") from error
    _forget(model)
    write_durably(path, model.SerializeToString())


def _example(inputs: Inputs) -> dict[str, Tensor]:
    numbers, codes, pixels = inputs.widths
    example = {
        NUMBERS: torch.zeros(TRACED_ROWS, numbers),
        CATEGORIES: torch.zeros(TRACED_ROWS, codes, dtype=torch.int64),
    }
    if pixels:
        example[PIXELS] = torch.zeros(TRACED_ROWS, pixels, dtype=torch.uint8)
    return example


def _traced(module: nn.Module, example: dict[str, Tensor]) -> onnx.ModelProto:
    file: Any = io.BytesIO()  # torch takes it, and says that it does not
    torch.onnx.export(
        module, (), file, kwargs=example, dynamo=False, opset_version=OPSET,
        input_names=[*example], output_names=[OUTPUTS], dynamic_axes={name: {0: ROWS} for name in (*example, OUTPUTS)},
    )  # fmt: skip
    return onnx.load_model_from_string(file.getvalue())


def _followed(module: nn.Module, example: dict[str, Tensor]) -> onnx.ModelProto:
    any_rows = {name: {0: torch.export.Dim.DYNAMIC} for name in example}
    program = torch.onnx.export(
        module, (), kwargs=example, dynamo=True, opset_version=OPSET, dynamic_shapes=any_rows,
        input_names=[*example], output_names=[OUTPUTS], external_data=False, verbose=False,
    )  # fmt: skip
    if program is None:
        raise WorkError("the exporter gave nothing")
    return program.model_proto


def _forget(model: onnx.ModelProto) -> None:
    """Leave out where the code was on this machine: it is nobody's business, and no two would be the same."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]


def _reason(error: BaseException) -> str:
    """Return the sentence of the first cause: exporters wrap it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__

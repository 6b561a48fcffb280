"""From an ONNX model to one whose weights have 8 bits, and whose layers multiply 8-bit numbers.

Activations are unsigned, weights signed with a scale for each channel, of 7 bits: where a processor has no VNNI,
products of 8 would overflow, and the model would predict something else there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static

from raymle.data.encoded import Encoded
from raymle.errors import WorkError
from raymle.model.noise import quiet
from raymle.model.session import fed, inputs_of

CALIBRATION_ROWS, STEP = 1000, 250
WEIGHTS: dict[str, Any] = {"per_channel": True, "reduce_range": True, "weight_type": QuantType.QInt8}


def dynamic(model: Path, path: Path) -> None:
    """Write a model that scales each layer's input by what a call brings.

    A row's prediction then depends a little on the rows beside it: one extreme number makes all of them coarse.

    Raises:
        WorkError: it cannot be made.
    """
    with quiet():
        try:
            quantize_dynamic(model, path, **WEIGHTS)
        except Exception as error:  # it raises whatever comes
            raise _failed(error) from error


def static(model: Path, path: Path, rows: Encoded) -> None:
    """Write a model whose scales are fixed by what its layers give for calibration rows, encoded.

    Raises:
        WorkError: it cannot be made.
    """
    wanted = fed(inputs_of(model.read_bytes()), rows)
    with quiet():
        try:
            quantize_static(model, path, _Reader(wanted), activation_type=QuantType.QUInt8, **WEIGHTS)
        except Exception as error:  # it raises whatever comes
            raise _failed(error) from error


def _failed(error: Exception) -> WorkError:
    said = (str(error).splitlines() or [""])[0][:300]
    return WorkError(
        f"the model cannot be made 8-bit: {type(error).__name__}: {said}", hint="export without --quantize"
    )


@final
class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Calibration rows, a few hundred at a time, as ONNX Runtime asks for them."""

    def __init__(self, inputs: dict[str, npt.NDArray[Any]]) -> None:
        rows = len(next(iter(inputs.values())))
        parts = [slice(first, first + STEP) for first in range(0, rows, STEP)]
        self._batches: Iterator[dict[str, Any]] = (
            {name: values[part] for name, values in inputs.items()} for part in parts
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)

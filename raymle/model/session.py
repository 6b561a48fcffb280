"""An ONNX model at work in ONNX Runtime: checked bytes in, raw outputs out. Torch is not loaded for it."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from raymle.data.encoded import Encoded, step_of
from raymle.errors import ArtifactError, SecurityError
from raymle.loader import environment
from raymle.records import Inputs

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from onnxruntime import InferenceSession

BATCH_ROWS = 2048
"""Rows of one call: as fast as more at once, and it bounds what ONNX Runtime keeps of the memory that it took."""
NUMBERS, CATEGORIES, PIXELS, OUTPUTS = "numbers", "categories", "pixels", "outputs"
TYPES = {NUMBERS: "tensor(float)", CATEGORIES: "tensor(int64)", PIXELS: "tensor(uint8)"}
PROVIDERS = ["CPUExecutionProvider"]
QUIET = 4
"""Only fatal errors are logged: what else is wrong is raised."""

Raw = Callable[[Encoded], npt.NDArray[Any]]
"""From encoded rows to raw outputs ``[n, outputs]``."""


def predictor(model: bytes, inputs: Inputs, outputs: int, *, threads: int | None = None) -> Raw:
    """Return what predicts with an ONNX model.

    Args:
        model: The whole file; its weights are in it.
        inputs: How wide its inputs must be.
        outputs: How wide its output must be.
        threads: Threads of one call; None takes what OMP_NUM_THREADS allows, or what the machine has.

    Raises:
        SecurityError: it names other files.
        ArtifactError: it is damaged, or takes or gives something else.
    """
    refuse_files(model)
    session = _session(model, threads)
    _check(session, inputs, outputs)
    wanted = {each.name for each in session.get_inputs()}
    step = step_of(BATCH_ROWS, inputs)

    def raw(encoded: Encoded) -> npt.NDArray[np.float32]:
        parts = [encoded.rows(slice(first, first + step)) for first in range(0, len(encoded), step)]
        found = [session.run([OUTPUTS], fed(wanted, part))[0] for part in parts]
        return np.concatenate(found) if found else np.empty((0, outputs), np.float32)

    return raw


def inputs_of(model: bytes) -> set[str]:
    """Name the inputs that a model looks at."""
    return {each.name for each in _session(model, 1).get_inputs()}


def refuse_files(model: bytes) -> None:
    """Raise SecurityError when a model keeps tensors in other files: it could name any file of this machine."""
    if b"location" not in model:  # what every reference to a file holds; no need to load onnx
        return
    import onnx
    from google.protobuf.message import DecodeError

    try:
        parsed = onnx.load_model_from_string(model)
    except DecodeError as error:
        raise _damaged(error) from None
    for message in _messages(parsed):
        if isinstance(message, onnx.TensorProto) and (message.external_data or message.data_location):
            places = [entry.value for entry in message.external_data if entry.key == "location"]
            raise SecurityError(
                f"model.onnx keeps the tensor {message.name!r} in another file, {', '.join(places) or 'not named'}",
                hint="an ONNX model of raymle holds all of its weights",
            )


def _messages(message: "Message") -> "Iterator[Message]":
    """Yield a protobuf message and all that are in it, wherever they are."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from _messages(each)


def _session(model: bytes, threads: int | None) -> "InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = threads or _allowed()
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    try:
        return onnxruntime.InferenceSession(model, options, providers=PROVIDERS)
    except Exception as error:  # ONNX Runtime has a class for each of its codes, and none above them
        raise _damaged(error) from error


def _allowed() -> int:
    """Return the threads that OMP_NUM_THREADS allows, as Ray sets it for its workers; 0 is what the machine has.

    ONNX Runtime itself looks at no such variable, and would take all cores in each of the workers.
    """
    said = (environment("OMP_NUM_THREADS") or "").partition(",")[0].strip()
    return int(said) if said.isdecimal() else 0


def _check(session: "InferenceSession", inputs: Inputs, outputs: int) -> None:
    """Hold what a model takes and gives against what the bundle says."""
    widths = dict(zip((NUMBERS, CATEGORIES, PIXELS), inputs.widths, strict=True))
    for each in session.get_inputs():
        if each.type != TYPES.get(each.name) or each.shape[1:] != [widths[each.name]]:
            raise _damaged(f"it takes {each.name} {each.type} {each.shape}, and the bundle has {widths}")
    given = [(each.name, each.type, each.shape[1:]) for each in session.get_outputs()]
    if given != [(OUTPUTS, "tensor(float)", [outputs])]:
        raise _damaged(f"it gives {given}, and the bundle says {outputs} outputs")


def fed(wanted: set[str], encoded: Encoded) -> dict[str, npt.NDArray[Any]]:
    """Name the arrays; a model that does not look at one of them has no such input."""
    given: dict[str, tuple[Any, Any]] = {
        NUMBERS: (encoded.numbers, np.float32),
        CATEGORIES: (encoded.codes, np.int64),
        PIXELS: (encoded.pixels, np.uint8),
    }
    return {name: np.ascontiguousarray(values, kind) for name, (values, kind) in given.items() if name in wanted}


def _damaged(error: object) -> ArtifactError:
    said = str(error).strip().splitlines()[:1] or ["it is empty"]
    return ArtifactError(f"model.onnx is damaged or not ours: {said[0][:300]}")

"""What a bundle says of itself, and which folders are bundles at all."""

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from raymle.config.model import ModelConfig
from raymle.errors import ArtifactError, RaymleError, SecurityError
from raymle.folders import MANIFEST
from raymle.records import Inputs, Metrics, Record, Schema

FORMAT = 2
"""1: weights of torch or trees of LightGBM. 2: may hold an ONNX model alone."""
Runtime = Literal["onnx", "lightgbm", "torch"]
Quantized = Literal["dynamic", "static"]
PICKLES = frozenset({".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".bin"})
HINT = "a bundle is a folder that raymle wrote: MANIFEST.json, bundle.json, transform.json and the weights"


class Contents(Record):
    """What ``bundle.json`` says."""

    format: int = 1
    data_schema: Schema
    model: ModelConfig
    inputs: Inputs
    outputs: int
    metrics: Metrics = Field(default_factory=dict)
    transforms: tuple[str, ...] = ()
    """The user's own functions over raw rows; their code is in the bundle."""
    runtime: Runtime | None = None
    """What predicts; None as training leaves it, when nobody has tried whether the network exports to ONNX."""
    onnx_why: str = ""
    """Why it does not predict by ONNX Runtime."""
    original: str = ""
    """Version of the bundle that this one was made from."""
    parity: float | None = None
    """How far its predictions were from the original's at most, in the units of ``golden.apart``."""
    quantized: Quantized | None = None
    """How its weights became 8-bit: None when they did not."""

    @property
    def references(self) -> tuple[str, ...]:
        """The user's own functions that the model needs."""
        return (*self.transforms, *([self.model.type] if self.model.is_users else []))

    @property
    def is_trees(self) -> bool:
        """Whether the model is LightGBM's, and not a network."""
        return self.model.type == "trees"


def read_contents(folder: Path) -> Contents:
    """Return what a bundle says of itself, without loading it.

    Raises:
        ArtifactError: it is no bundle, damaged, or a newer version of raymle wrote it.
        SecurityError: it is a pickle, or a folder of pickles.
    """
    if not (folder / MANIFEST).is_file():
        raise no_bundle(folder)
    try:
        said = json.loads((folder / "bundle.json").read_bytes())
        newest = said.get("format", 1) if isinstance(said, dict) else 1
        if isinstance(newest, int) and newest > FORMAT:
            raise ArtifactError(
                f"{folder} is a bundle of format {newest}, and this version reads up to {FORMAT}",
                hint="update raymle, or export the model with this version",
            )
        return Contents.model_validate(said)
    except (OSError, ValueError) as error:
        raise unreadable(folder, error) from None


def no_bundle(path: Path) -> RaymleError:
    """Say that a path is no bundle; a pickle is never opened to find out what is in it."""
    files = [path] if path.is_file() else sorted(path.glob("*"))
    pickle = next((each.name for each in files if each.suffix.lower() in PICKLES), "")
    if pickle:
        return SecurityError(f"{path} is no bundle, and {pickle} is a pickle: loading it could run any code", hint=HINT)
    return ArtifactError(f"{path} is not whole or not a bundle: it has no valid {MANIFEST}", hint=HINT)


def unreadable(folder: Path, error: Exception) -> ArtifactError:
    """Say what about a bundle cannot be read."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        said = f"bundle.json: {'.'.join(map(str, first['loc']))} {first['msg']}"
    else:
        said = (str(error) or type(error).__name__).splitlines()[0]
    return ArtifactError(f"{folder} is not a bundle that this version reads: {said}")

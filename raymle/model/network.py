"""A torch module at work: its inputs, its raw output, its weights in a bundle."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from raymle.config.model import ModelConfig
from raymle.data.encoded import PIXELS_AT_ONCE, Encoded
from raymle.errors import ArtifactError
from raymle.model.build import build
from raymle.records import Inputs

BATCH_ROWS = 8192
BATCH_CODES = 1 << 15
"""Of texts a batch has fewer rows: each code becomes some vectors, of thousands of numbers in large transformers."""


def forward(module: nn.Module, encoded: Encoded, outputs: int) -> npt.NDArray[np.float32]:
    """Return the network's raw output ``[n, outputs]``, in batches and without gradients."""
    device = next(module.parameters(), torch.empty(0)).device
    parts = []
    codes, pixels = encoded.codes.shape[1], 0 if encoded.pixels is None else encoded.pixels.shape[1]
    step = min(BATCH_ROWS, BATCH_CODES // max(1, codes) + 1, PIXELS_AT_ONCE // max(1, pixels) + 1)
    with torch.inference_mode():
        for start in range(0, len(encoded), step):
            output = module(**as_inputs(encoded.rows(slice(start, start + step)), device))
            parts.append(output.float().cpu().numpy())
    return np.concatenate(parts) if parts else np.empty((0, outputs), np.float32)


def as_inputs(encoded: Encoded, device: torch.device) -> dict[str, torch.Tensor]:
    """Name the arrays as a network wants them; the copies are writable, as torch asks."""
    found = {
        "numbers": torch.from_numpy(np.array(encoded.numbers, np.float32)).to(device),
        "categories": torch.from_numpy(np.array(encoded.codes, np.int64)).to(device),
    }
    if encoded.pixels is not None:
        found["pixels"] = torch.from_numpy(np.array(encoded.pixels)).to(device)
    return found


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's weights as safetensors."""
    save_model(module.to("cpu"), str(path))


def with_weights(config: ModelConfig, inputs: Inputs, outputs: int, *, folder: Path) -> nn.Module:
    """Build the network of a bundle's folder and give it its weights.

    Raises:
        ArtifactError: the weights are damaged, or another network's.
    """
    module = build(config, inputs, outputs, folder=str(folder / "code"))
    try:
        load_model(module, folder / "weights.safetensors")
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"the weights in {folder} do not fit {config.type}: {error}") from None
    return module.eval()

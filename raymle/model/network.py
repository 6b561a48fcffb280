"""A torch module at work: its inputs, its raw output, its weights in a bundle."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from raymle.config.model import ModelConfig
from raymle.errors import ArtifactError
from raymle.model.build import build
from raymle.records import Inputs

BATCH_ROWS = 8192


def forward(
    module: nn.Module, numbers: npt.NDArray[Any], codes: npt.NDArray[Any], outputs: int
) -> npt.NDArray[np.float32]:
    """Return the network's raw output ``[n, outputs]``, in batches and without gradients."""
    device = next(module.parameters(), torch.empty(0)).device
    parts = []
    with torch.inference_mode():
        for start in range(0, len(numbers), BATCH_ROWS):
            rows = slice(start, start + BATCH_ROWS)
            output = module(**as_inputs(numbers[rows], codes[rows], device))
            parts.append(output.float().cpu().numpy())
    return np.concatenate(parts) if parts else np.empty((0, outputs), np.float32)


def as_inputs(numbers: npt.NDArray[Any], codes: npt.NDArray[Any], device: torch.device) -> dict[str, torch.Tensor]:
    """Name the arrays as a network wants them; the copies are writable, as torch asks."""
    return {
        "numbers": torch.from_numpy(np.array(numbers, np.float32)).to(device),
        "categories": torch.from_numpy(np.array(codes, np.int64)).to(device),
    }


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

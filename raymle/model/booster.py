"""LightGBM's own predictor over the trees of a bundle."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

from raymle.errors import ArtifactError
from raymle.model.session import Raw

BATCH_ROWS = 8192


def predictor(folder: Path, *, threads: int | None = None) -> Raw:
    """Return what predicts with the trees of a bundle's folder.

    Args:
        folder: The bundle.
        threads: Threads of one call; None lets LightGBM take what the machine has.

    Raises:
        ArtifactError: they are damaged.
    """
    try:
        booster = lightgbm.Booster(model_str=(folder / "model.txt").read_text())
    except (OSError, ValueError, lightgbm.basic.LightGBMError) as error:
        raise ArtifactError(f"the trees in {folder} are damaged: {error}") from None

    def raw(numbers: npt.NDArray[Any], codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        firsts = range(0, max(1, len(numbers)), BATCH_ROWS)
        parts = [slice(first, first + BATCH_ROWS) for first in firsts]
        found = [
            booster.predict(np.column_stack([numbers[rows], codes[rows]]), num_threads=threads or 0) for rows in parts
        ]
        return np.concatenate(found)

    return raw

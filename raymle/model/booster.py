"""LightGBM's own predictor over the trees of a bundle."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

from raymle.data.encoded import Encoded
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

    def raw(encoded: Encoded) -> npt.NDArray[Any]:
        firsts = range(0, max(1, len(encoded)), BATCH_ROWS)
        parts = [encoded.rows(slice(first, first + BATCH_ROWS)) for first in firsts]
        found = [
            booster.predict(np.column_stack([part.numbers, part.codes]), num_threads=threads or 0) for part in parts
        ]
        return np.concatenate(found)

    return raw

"""Two bundles' weights beside each other."""

import math
import re
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from torch import Tensor, uint8

LEAVES = re.compile(r"^leaf_value=(.*)$", re.MULTILINE)


def apart(theirs: Path, ours: Path, *, trees: bool) -> float | None:
    """Return the largest absolute difference of two bundles' weights, infinite for other names or shapes.

    None when every bit is the same.
    """
    name = "model.txt" if trees else "weights.safetensors"
    if (theirs / name).read_bytes() == (ours / name).read_bytes():
        return None
    return _leaves(theirs / name, ours / name) if trees else _tensors(load_file(theirs / name), load_file(ours / name))


def _leaves(theirs: Path, ours: Path) -> float:
    """Compare what the leaves of boosted trees hold."""
    then, now = (np.array(" ".join(LEAVES.findall(path.read_text())).split(), np.float64) for path in (theirs, ours))
    return float(np.abs(then - now).max(initial=0)) if then.shape == now.shape else math.inf


def _tensors(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> float | None:
    """Compare a network's weights and buffers; the file may hold them in another order."""
    shapes = ({name: (each.shape, each.dtype) for name, each in tensors.items()} for tensors in (theirs, ours))
    if next(shapes) != next(shapes):
        return math.inf
    if all(_bits(each) == _bits(ours[name]) for name, each in theirs.items()):
        return None
    filled = {name: each.double() for name, each in theirs.items() if each.numel()}
    return max(float((each - ours[name].double()).abs().max()) for name, each in filled.items())


def _bits(values: Tensor) -> bytes:
    return values.contiguous().flatten().view(uint8).numpy().tobytes()

"""How many threads this process computes with; with the seed they decide the last bits of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def computing(threads: int) -> Iterator[None]:
    """Let torch and LightGBM compute with so many threads for the block."""
    before = torch.get_num_threads()
    if threads == before:  # to set even the same number changes how MKL shares its work
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""Splits in, a trained bundle out; the caller drives the epochs. Loads torch when something is trained."""

from typing import TYPE_CHECKING, Any

from raymle.train.check import check as check
from raymle.train.check import count as count
from raymle.train.check import is_group as is_group
from raymle.train.check import keeps as keeps
from raymle.train.check import most_epochs as most_epochs
from raymle.train.display import display as display
from raymle.train.display import say as say

if TYPE_CHECKING:
    from raymle.train.checkpoint import forget as forget
    from raymle.train.trainer import fit as fit


def __getattr__(name: str) -> Any:
    if name == "fit":
        from raymle.train.trainer import fit

        return fit
    if name == "forget":
        from raymle.train.checkpoint import forget

        return forget
    raise AttributeError(f"module 'raymle.train' has no attribute {name!r}")

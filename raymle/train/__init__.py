"""Splits in, a trained bundle out; the caller drives the epochs. Loads torch when something is trained."""

from typing import TYPE_CHECKING, Any

from raymle.train.check import check as check
from raymle.train.check import count as count
from raymle.train.check import fits as fits
from raymle.train.check import is_group as is_group
from raymle.train.check import keeps as keeps
from raymle.train.check import most_epochs as most_epochs
from raymle.train.check import shape_of as shape_of
from raymle.train.check import why_not as why_not
from raymle.train.display import display as display
from raymle.train.display import say as say

if TYPE_CHECKING:
    from raymle.train import single, stacked
    from raymle.train.checkpoint import forget as forget
    from raymle.train.stacked import Member as Member
    from raymle.train.stacked import Told as Told
    from raymle.train.trainer import fit as fit

    fit_single, fit_stack = single.fit, stacked.fit


def __getattr__(name: str) -> Any:
    if name == "fit":
        from raymle.train.trainer import fit

        return fit
    if name == "forget":
        from raymle.train.checkpoint import forget

        return forget
    if name == "fit_single":
        from raymle.train.single import fit as fit_single

        return fit_single
    if name in {"Member", "Told", "fit_stack"}:
        from raymle.train import stacked

        return stacked.fit if name == "fit_stack" else getattr(stacked, name)
    raise AttributeError(f"module 'raymle.train' has no attribute {name!r}")

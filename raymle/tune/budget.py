"""When a study ends: pure, over what it has taken so far."""

from collections.abc import Sequence
from dataclasses import dataclass

from raymle.config.tune import BudgetConfig


@dataclass(frozen=True)
class Spent:
    """What a study has taken, earlier sessions included."""

    seconds: float = 0.0
    dollars: float = 0.0


def is_spent(budget: BudgetConfig, spent: Spent) -> bool:
    """Whether the minutes or the dollars are over."""
    minutes, dollars = budget.minutes, budget.dollars
    return (minutes is not None and spent.seconds >= 60 * minutes) or (dollars is not None and spent.dollars >= dollars)


def is_stuck(budget: BudgetConfig, ranks: Sequence[float]) -> bool:
    """Whether the last ``no_improvement`` ended trials brought no better best.

    Args:
        budget: What is allowed.
        ranks: How good each ended trial is, higher is better, in the order in which they ended.
    """
    patience = budget.no_improvement
    if patience is None or len(ranks) <= patience:
        return False
    return max(ranks[-patience:]) <= max(ranks[:-patience])

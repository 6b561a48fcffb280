"""The ``tune`` section: what is searched, how, and until when."""

from typing import Any, Literal

from pydantic import Field

from raymle.config.base import Section


class BudgetConfig(Section):
    """When a study ends before its last trial."""

    minutes: float | None = Field(None, gt=0)
    """Wall-clock minutes."""
    dollars: float | None = Field(None, gt=0)
    """Node-seconds times the price."""
    no_improvement: int | None = Field(None, ge=1)
    """Finished trials without a better best."""


class TuneConfig(Section):
    """What is searched, how, and until when."""

    trials: int = Field(20, ge=1)
    """Trials to run."""
    space: dict[str, Any] = Field(default_factory=dict)
    """A range for each path of the spec: {loguniform: [1e-4, 1e-1]}, {choice: [...]} and so on."""
    algorithm: Literal["random", "grid", "tpe", "gp", "cmaes", "evolution"] = "tpe"
    """Who proposes the next trial."""
    scheduler: Literal["none", "asha", "hyperband", "median", "pbt"] = "asha"
    """Who stops a bad one early."""
    budget: BudgetConfig = BudgetConfig()
    """When a study ends before its last trial."""
    concurrency: int | None = Field(None, ge=1)
    """Trials at one time; null computes it from what a trial needs."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the proposals."""

"""The ``tune`` section: what is searched, how, and until when."""

from typing import Any, Literal

from pydantic import Field

from raymle.config.base import Section


class BudgetConfig(Section):
    """When a study ends before its last trial; what earlier sessions of it took counts too."""

    minutes: float | None = Field(None, gt=0)
    """Wall-clock minutes."""
    dollars: float | None = Field(None, gt=0)
    """Node-seconds times the price."""
    no_improvement: int | None = Field(None, ge=1)
    """Finished trials without a better best."""


class TuneConfig(Section):
    """What is searched, how, and until when."""

    trials: int = Field(20, ge=1)
    """Trials to run, those of earlier sessions included."""
    space: dict[str, Any] = Field(default_factory=dict)
    """A range for each path of the spec: {loguniform: [1e-4, 1e-1]}, {choice: [...]} and so on."""
    algorithm: Literal["random", "grid", "tpe", "gp", "cmaes", "nsga2", "evolution"] = "tpe"
    """Who proposes the next trial."""
    scheduler: Literal["none", "asha", "hyperband", "median", "pbt"] = "asha"
    """Who stops a bad one early."""
    objectives: tuple[str, ...] = ()
    """What is traded off; none: the deciding metric alone. It comes first, and the scheduler looks at it."""
    budget: BudgetConfig = BudgetConfig()
    """When a study ends before its last trial."""
    concurrency: int | None = Field(None, ge=1)
    """Trials at one time; null computes it from what a trial needs. 1 makes a whole study reproducible."""
    fuse: bool = True
    """Whether small networks that differ only in numbers may train as one."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the proposals."""

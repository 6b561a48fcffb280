"""The ``evaluate`` and ``promote`` sections: how a model is judged, and when it may take over."""

from pydantic import Field

from raymle.config.base import Condition, Reference, Section


class EvaluateConfig(Section):
    """How a model is judged."""

    metric: str = "auto"
    """The metric that decides; auto: roc_auc for two classes, accuracy for more, rmse for numbers."""
    positive: str | bool | int | None = None
    """The class that counts as positive; null takes the last in order."""
    metrics: tuple[Reference, ...] = ()
    """The user's own metrics, module:function(y_true, y_prediction)."""
    limits: tuple[Condition, ...] = ()
    """Conditions that a study's winner must meet."""


class PromoteConfig(Section):
    """When a model may become champion."""

    model: str | None = Field(None, pattern=r"^[\w][\w .-]{0,127}$")
    """Registered name; null takes the experiment's name."""
    require: tuple[Condition, ...] = ()
    """Conditions on the test metrics."""
    min_fresh_rows: int = Field(100, ge=1)
    """Fresh sealed rows that the score must rest on."""

"""The whole spec: one experiment from raw data to a served model."""

from typing import Any, Self

from pydantic import Field, model_validator

from raymle.config.base import Section
from raymle.config.data import DataConfig, SplitConfig
from raymle.config.evaluate import EvaluateConfig, PromoteConfig
from raymle.config.model import ANOMALY, ModelConfig
from raymle.config.place import ClusterConfig, TrackingConfig
from raymle.config.serve import ServeConfig
from raymle.config.train import TrainConfig
from raymle.config.tune import TuneConfig


class Spec(Section):
    """One experiment. Six lines are enough; every other key has a default."""

    name: str = Field(pattern=r"^[\w][\w .-]{0,127}$")
    """The experiment's name."""
    data: DataConfig
    """Where the rows are and what their columns mean."""
    split: SplitConfig = SplitConfig()
    """Who goes to train, validation and test."""
    model: ModelConfig = ModelConfig()
    """Which network or family."""
    train: TrainConfig = TrainConfig()
    """How one model is trained."""
    tune: TuneConfig | None = None
    """What `raymle tune` searches; not used by any other verb."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How a model is judged."""
    promote: PromoteConfig = PromoteConfig()
    """When a model may become champion."""
    serve: ServeConfig = ServeConfig()
    """Where and how a model answers."""
    tracking: TrackingConfig = TrackingConfig()
    """Where runs are recorded."""
    storage: str = "runs"
    """One home, folder or URI: records, shards, ledger, journals, bundles."""
    cluster: ClusterConfig = ClusterConfig()
    """Where work runs."""
    profiles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Named sets of overrides, chosen with --profile."""
    folder: str = "."
    """Where relative paths and the user's own code start: the spec's folder, set by the loader."""

    @model_validator(mode="after")
    def _split_suits_a_forecast(self) -> Self:
        if self.data.is_forecast and self.split.method not in {"time", "group"}:
            raise ValueError(
                f"split.method is {self.split.method}, and windows overlap: "
                "a forecast is split by time, or by group to forecast series that were never seen"
            )
        return self

    @model_validator(mode="after")
    def _model_suits_the_task(self) -> Self:
        if self.data.is_anomaly and self.model.type not in ANOMALY:
            raise ValueError(
                f"model.type is {self.model.type}, which learns from labels, and data.task is anomaly: "
                f"use {' or '.join(ANOMALY)}, or data.task: classification"
            )
        if self.model.type in ANOMALY and not self.data.is_anomaly:
            raise ValueError(f"model.type {self.model.type} is for data.task: anomaly")
        return self

    @model_validator(mode="after")
    def _split_has_its_column(self) -> Self:
        for method, column in (("group", self.data.group), ("time", self.data.time)):
            if self.split.method == method and column is None:
                raise ValueError(f"split.method is {method}, and data.{method} names no column")
        return self

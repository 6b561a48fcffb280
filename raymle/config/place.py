"""The ``tracking`` and ``cluster`` sections: where records go and where work runs."""

import re
from typing import Literal

from pydantic import Field, field_validator

from raymle.config.base import Section


class TrackingConfig(Section):
    """Where runs are recorded."""

    uri: str | None = None
    """MLflow's address; null: MLFLOW_TRACKING_URI, else SQLite in storage."""
    experiment: str | None = None
    """MLflow's experiment; null takes the spec's name."""

    @field_validator("uri")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value and re.search(r"://[^/@]*:[^/@]*@|[?&](password|token|secret)=", value):
            raise ValueError("a spec is recorded, so it holds no password; set MLFLOW_TRACKING_URI in the environment")
        return value


class ClusterConfig(Section):
    """Where work runs."""

    address: str = "auto"
    """auto, inline (no Ray), local (a Ray of its own), or a Ray address."""
    provider: Literal["aws", "gcp", "azure", "kubernetes", "onprem"] | None = None
    """Whose nodes."""
    gpu: str | None = None
    """Accelerator type."""
    spot: bool = True
    """Use preemptible nodes for workers."""
    max_dollars_per_hour: float | None = Field(None, gt=0)
    """Refuse a cluster that may cost more."""
    node: str | None = None
    """The provider's name of a node's type, such as g5.xlarge: what it costs is looked up."""
    dollars_per_hour: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Price of one node for an hour; null: by the node's type, 0 on your own machine."""

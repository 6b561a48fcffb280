"""The ``serve`` section: where and how a model answers."""

from typing import Any, Self

from pydantic import Field, model_validator

from raymle.config.base import Section


class ReplicasConfig(Section):
    """How many copies answer."""

    min: int = Field(1, ge=1)
    """Always running."""
    max: int = Field(1, ge=1)
    """Most under load."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min}")
        return self


class BatchConfig(Section):
    """How requests are put together."""

    max_size: int = Field(64, ge=1)
    """Rows of one batch."""
    wait_ms: float = Field(2, ge=0)
    """How long the first row waits for others."""


class ServeConfig(Section):
    """Where and how a model answers."""

    host: str = "127.0.0.1"
    """Address to listen on; beyond loopback only with auth."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    replicas: ReplicasConfig = ReplicasConfig()
    """How many copies answer."""
    batch: BatchConfig = BatchConfig()
    """How requests are put together."""
    auth: dict[str, Any] | None = None
    """Bearer tokens; null is only for loopback."""
    tls: dict[str, Any] | None = None
    """Certificate and key."""
    capture: dict[str, Any] | None = None
    """What is kept of the traffic."""

"""The ``serve`` section: where and how a model answers."""

from typing import Any, Self

from pydantic import Field, model_validator

from raymle.config.base import Section
from raymle.config.traffic import GuardConfig


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


class CopyConfig(Section):
    """What one copy of the model needs."""

    cpu: float = Field(1, gt=0)
    """CPU cores of one copy."""
    gpu: float = Field(0, ge=0)
    """GPUs of one copy; a fraction shares one."""


class AuthConfig(Section):
    """Who may ask."""

    tokens: str = Field(min_length=1)
    """File of hashed bearer tokens; it is read again when it changes."""
    rate_per_s: float | None = Field(None, gt=0)
    """Most requests a second of one token in one copy; null does not count them."""


class TlsConfig(Section):
    """What encrypts the connection."""

    certificate: str = Field(min_length=1)
    """PEM file of the certificate, with its chain."""
    key: str = Field(min_length=1)
    """PEM file of its private key."""


class RequestLimitsConfig(Section):
    """What one request may ask for."""

    body_mib: float = Field(8, gt=0, le=1024)
    """MiB of a body."""
    rows: int = Field(10_000, ge=1)
    """Rows of a body."""
    megapixels: float = Field(64, gt=0, le=4096)
    """Million pixels of all images of a body, as their files have them."""


class ServeConfig(Section):
    """Where and how a model answers."""

    host: str = "127.0.0.1"
    """Address to listen on; beyond loopback only with auth."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    replicas: ReplicasConfig = ReplicasConfig()
    """How many copies answer."""
    resources: CopyConfig = CopyConfig()
    """What one copy needs."""
    batch: BatchConfig = BatchConfig()
    """How requests are put together."""
    timeout_s: float = Field(30, gt=0)
    """Seconds until a request that has no answer yet fails; a client may ask for fewer."""
    limits: RequestLimitsConfig = RequestLimitsConfig()
    """What one request may ask for."""
    queue: int = Field(200, ge=1)
    """Requests that may wait in one copy; more are told to come back in a second."""
    retry: bool = False
    """Whether a request whose copy died is sent again to another one; only what fits in 64 KiB is."""
    load_timeout_s: float = Field(25, gt=0, le=50)
    """Seconds in which a version must be fetched and loaded, and have proved itself."""
    guard: GuardConfig = GuardConfig()
    """When a challenger is taken away by itself."""
    page: bool = True
    """Whether there is a page at / to try the model on."""
    auth: AuthConfig | None = None
    """Bearer tokens; null is only for loopback."""
    tls: TlsConfig | None = None
    """Certificate and key."""
    capture: dict[str, Any] | None = None
    """What is kept of the traffic."""

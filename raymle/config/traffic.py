"""Parts of the ``serve`` section: when a challenger is taken away, and how much may wait."""

from pydantic import Field

from raymle.config.base import Section


class GuardConfig(Section):
    """When a canary or a shadow is taken away by itself; each replica judges what it sees."""

    min_requests: int = Field(50, ge=1)
    """Requests of the challenger before its latency or its answers count."""
    errors: float | None = Field(0.02, ge=0, le=1)
    """Part of its requests that it may fail; the champion answers those."""
    latency: float | None = Field(3.0, gt=1)
    """Most times slower than the champion, by the 95th percentile of both."""
    disagreement: float | None = Field(0.25, ge=0, le=1)
    """Part of the rows that it may answer otherwise: another class, or a number over 0.1 deviations away."""

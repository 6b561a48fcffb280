"""Who is let in while a server runs: tokens of a file that may change, each as often as it may."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import final

from raymle.errors import ArtifactError, SecurityError
from raymle.serve import auth
from raymle.serve.limits import RequestError

LOOK_EVERY_S = 1.0
"""How long a change of the file may stay unseen."""


@final
class Tokens:
    """The tokens of a file that may change, and how often each was used."""

    def __init__(
        self, path: Path, *, rate_per_s: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path, self._rate, self._clock = path, rate_per_s, clock
        self._tokens = auth.listed(path)
        self._stamp, self._looked = _stamp(path), clock()
        self._left: dict[str, tuple[float, float]] = {}
        """For each name how many requests it may still send, and when that was so."""

    def admit(self, authorization: bytes) -> str:
        """Return the name of the token in an Authorization header.

        Raises:
            RequestError: there is none that is known (401), or it comes too often (429).
        """
        self._look_again()
        kind, _, given = authorization.partition(b" ")
        found = auth.find(self._tokens, given.strip(), now=datetime.now(UTC)) if kind.lower() == b"bearer" else None
        if found is None:
            headers = {"WWW-Authenticate": "Bearer"}
            message = "this needs a token, in the header 'Authorization: Bearer ...'"
            raise RequestError(message, status=401, kind="unauthorized", headers=headers)
        if self._rate is not None:
            self._count(found.name, self._rate)
        return found.name

    def _count(self, name: str, rate: float) -> None:
        """Fill a bucket of one second's requests by the time that went by, and take one out."""
        now = self._clock()
        most = max(1.0, rate)
        left, then = self._left.get(name, (most, now))
        left = min(most, left + (now - then) * rate)
        if left < 1:
            self._left[name] = (left, now)
            wait = math.ceil((1 - left) / rate)
            message = f"more than {rate:g} requests a second with this token"
            raise RequestError(message, status=429, kind="too_many_requests", headers={"Retry-After": str(wait)})
        self._left[name] = (left - 1, now)

    def _look_again(self) -> None:
        """Read the file again when it has changed; one that is gone or damaged lets nobody in."""
        now = self._clock()
        if now - self._looked < LOOK_EVERY_S:
            return
        self._looked, stamp = now, _stamp(self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._tokens = auth.listed(self._path)
            except (ArtifactError, SecurityError):
                self._tokens = ()


def _stamp(path: Path) -> tuple[int, int, int]:
    """Return what differs when a file was replaced, written to or opened to others."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ctime_ns, found.st_size, found.st_ino

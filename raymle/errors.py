"""Every error a user can meet: what went wrong, where, and what to do now.

    RaymleError        1   a bug in raymle, unless a child says otherwise
    ├─ UsageError      2   the command line, or a feature that is not there yet
    ├─ SpecError       3   the YAML, or an override of it, does not describe an experiment
    ├─ DataError       3   the data cannot be used as the spec says
    ├─ WorkError       4   the work itself failed: training, a trial, a deployment
    ├─ ArtifactError   5   a run, bundle or shard is missing or damaged
    ├─ ResourceError   6   not enough disk, memory, CPUs or GPUs
    ├─ SetupError      7   the environment: ports, packages, credentials, network
    ├─ ConflictError   8   somebody else holds it or was first
    ├─ SecurityError   9   refused because it would not be safe
    └─ GateRefused    10   a gate said no; the same call again says no again

The first argument is the whole message: only ``args`` and ``__dict__`` survive pickling between Ray processes.
"""

from typing import ClassVar


class RaymleError(Exception):
    """What went wrong, with a hint that says what to do now."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(RaymleError, ValueError):
    """The command line, or a feature that this version does not have."""

    exit_code = 2


class SpecError(RaymleError, ValueError):
    """The YAML, or an override of it, does not describe an experiment."""

    exit_code = 3


class DataError(RaymleError, ValueError):
    """The data cannot be used as the spec says."""

    exit_code = 3


class WorkError(RaymleError, RuntimeError):
    """The work itself failed: training, a trial, a deployment."""

    exit_code = 4


class ArtifactError(RaymleError, LookupError):
    """A run, bundle or shard is missing or damaged."""

    exit_code = 5


class ResourceError(RaymleError, RuntimeError):
    """Not enough disk, memory, CPUs or GPUs."""

    exit_code = 6


class SetupError(RaymleError, RuntimeError):
    """The environment is not ready: ports, packages, credentials, network."""

    exit_code = 7


class ConflictError(RaymleError, RuntimeError):
    """Somebody else holds it, or was first."""

    exit_code = 8


class SecurityError(RaymleError, RuntimeError):
    """Refused because it would not be safe."""

    exit_code = 9


class GateRefused(  # noqa: N818  a gate is no error
    RaymleError, RuntimeError
):
    """A gate said no; the same call again says no again."""

    exit_code = 10

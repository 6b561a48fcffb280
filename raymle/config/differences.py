"""What is not the same in two sets of settings or results."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from raymle.config.spec import Spec

NOT_THE_JOB = {"profiles", "folder", "storage", "tracking", "serve"}
"""Sections that two specs of one job may differ in."""


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the dotted paths whose values differ, with both values."""
    left, right = dict(flat(first)), dict(flat(second))
    return {
        name: (left.get(name), right.get(name))
        for name in dict.fromkeys([*left, *right])
        if left.get(name) != right.get(name)
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value under its dotted path."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def first_difference(then: Spec, now: Spec, *, but_for: Sequence[str] = ()) -> str:
    """Name the first setting of the job in which two specs differ; empty when they are the same job.

    ``but_for`` are dotted paths that may differ, with all under them.
    """
    there_and_here = (each.model_dump(mode="json", exclude=NOT_THE_JOB) for each in (then, now))
    for name, (there, here) in differences(*there_and_here).items():
        if not any(name == path or name.startswith(f"{path}.") or path.startswith(f"{name}.") for path in but_for):
            return f"{name} is {there} there and {here} here"
    return ""

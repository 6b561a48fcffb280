"""What models can be picked by and limited."""

from collections.abc import Sequence

from raymle import evaluate, planning
from raymle.config import Spec
from raymle.evaluate import limits
from raymle.records import Trained

KIND = "a column or a metric"


def known(specs: Sequence[Spec]) -> tuple[str, ...]:
    """Return the names for models of these specs, before one is trained."""
    config, folder = specs[0].evaluate, specs[0].folder
    return (*limits.COLUMNS, *evaluate.known(config, planning.inferred(specs[0]), folder=folder))


def names_of(records: Sequence[Trained]) -> tuple[str, ...]:
    """Return the names for the models of these records."""
    metrics = dict.fromkeys(name for record in records for name in record.metrics.get("validation", {}))
    return (*limits.COLUMNS, *metrics)


def check(names: Sequence[str], pick: str | None, conditions: Sequence[str]) -> None:
    """Find a name that there is not, before anything is trained or measured.

    Raises:
        SpecError: naming the nearest, and all.
    """
    limits.check("--limit", conditions, names, kind=KIND)
    if pick is not None:
        limits.check_name("--pick", pick, names, kind=KIND)

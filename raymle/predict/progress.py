"""How far a prediction is, and whether too many of its rows are bad: pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from raymle.errors import DataError
from raymle.predict.parts import Receipt, Step


@dataclass(frozen=True)
class Progress:
    """Rows that are done, and the receipts of the parts that are whole."""

    total: int | None
    """How many rows there are; None when only reading tells."""
    rows: int = 0
    quarantined: int = 0
    before: int = 0
    """Rows that an earlier run had done."""
    commonest: str = ""
    receipts: dict[int, Receipt] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Rows that are known to have a prediction or none."""
        return self.rows + self.quarantined

    def after(self, step: Step) -> Self:
        """Return what holds after one more step."""
        kept = self.receipts | ({step.receipt.chunk: step.receipt} if step.receipt else {})
        return replace(
            self, rows=self.rows + step.rows, quarantined=self.quarantined + step.quarantined, receipts=kept,
            commonest=step.commonest or self.commonest,
        )  # fmt: skip


def begun(receipts: Iterable[Receipt], total: int | None) -> Progress:
    """Return where a prediction stands whose parts are partly there."""
    found = {each.chunk: each for each in receipts}
    rows, quarantined = (sum(getattr(each, name) for each in found.values()) for name in ("rows", "quarantined"))
    reasons = [reason for each in found.values() for reason in each.reasons]
    return Progress(total, rows, quarantined, rows + quarantined, next(iter(reasons), ""), found)


def refuse_too_many(progress: Progress, most: float, *, ended: bool = False) -> None:
    """End a prediction once more than that fraction of all rows is sure to be quarantined.

    Raises:
        DataError: with the commonest reason.
    """
    total = progress.done if ended else progress.total
    if total is not None and progress.quarantined > most * total:
        raise DataError(
            f"more than {most:.4g} of the rows break the model's contract, most of them so: {progress.commonest}",
            hint="look at the source, or allow more with --max-quarantined",
        )


def left_s(progress: Progress, seconds: float) -> float | None:
    """Return about how many seconds are left after so many; None when that is not known."""
    here = progress.done - progress.before
    return None if not here or progress.total is None else seconds * (progress.total - progress.done) / here


def line(progress: Progress, seconds: float) -> str:
    """Say how far it is: rows, rows/s and the time left."""
    here, left = progress.done - progress.before, left_s(progress, seconds)
    most = "" if progress.total is None else f" of {progress.total:,}"
    parts = [f"{progress.done:,}{most} rows", f"{here / max(seconds, 1e-3):,.0f} rows/s"]
    parts += [f"{progress.quarantined:,} quarantined"] if progress.quarantined else []
    return "  ".join(parts + ([] if left is None else [f"about {left:.0f} s left"]))

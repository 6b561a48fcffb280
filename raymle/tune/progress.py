"""What a person wants to know of a study at one moment. Pure; knows no framework."""

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

State = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Row:
    """One trial."""

    number: int
    """From 1."""
    run_id: str
    state: State
    score: float | None
    """The best so far, of the deciding metric."""
    epochs: int
    """How many it ran."""
    most_epochs: int
    """How many it runs when nobody stops it."""
    settings: dict[str, Any]
    """Flat path -> value."""
    seconds: float
    reason: str = ""
    """Why it failed."""
    values: tuple[float, ...] = ()
    """All objectives, the deciding one first."""


@dataclass(frozen=True)
class Progress:
    """A study."""

    metric: str
    is_maximised: bool
    trials: int
    """Planned."""
    rows: tuple[Row, ...]
    elapsed_s: float
    minutes: float | None
    """Budget; None is no limit."""
    dollars: float
    """Spent."""
    max_dollars: float | None
    """Budget; None is no limit."""
    at_once: int


def ended(progress: Progress) -> list[Row]:
    """Return the trials that are over, however they ended."""
    return [row for row in progress.rows if row.state != "running"]


def counts(progress: Progress) -> Counter[State]:
    """Count the trials by state."""
    return Counter(row.state for row in progress.rows)


def best(progress: Progress) -> Row | None:
    """Return the best trial that has a model: finished, or stopped early."""
    whole = [row for row in progress.rows if row.state in ("finished", "stopped")]
    return next(iter(_ranked(whole, is_maximised=progress.is_maximised)), None)


def leaders(progress: Progress, count: int) -> list[Row]:
    """Return the best trials so far, the best first; one that still runs may lead, one that failed never does."""
    alive = [row for row in progress.rows if row.state != "failed"]
    return _ranked(alive, is_maximised=progress.is_maximised)[:count]


def epochs_saved(progress: Progress) -> int:
    """Count the epochs that trials did not run because they were stopped early."""
    return sum(max(row.most_epochs - row.epochs, 0) for row in progress.rows if row.state == "stopped")


def eta_s(progress: Progress) -> float | None:
    """Estimate the seconds to the end: every trial takes as long as those that ended did on average.

    None when no trial ended yet; never more than the budget's minutes leave.
    """
    over = ended(progress)
    if not over:
        return None
    mean = sum(row.seconds for row in over) / len(over)
    rests = [max(mean - row.seconds, 0.0) for row in progress.rows if row.state == "running"]
    waiting = max(progress.trials - len(progress.rows), 0)
    needed = max((waiting * mean + sum(rests)) / max(progress.at_once, 1), *rests, 0.0)
    left = left_s(progress)
    return needed if left is None else min(needed, left)


def left_s(progress: Progress) -> float | None:
    """Return the seconds that the budget leaves; None is no limit."""
    return None if progress.minutes is None else max(60 * progress.minutes - progress.elapsed_s, 0.0)


def later(progress: Progress, seconds: float) -> Progress:
    """Return the same study some seconds later, if nothing was heard of it since."""
    rows = tuple(
        replace(row, seconds=row.seconds + seconds) if row.state == "running" else row for row in progress.rows
    )
    return replace(progress, elapsed_s=progress.elapsed_s + seconds, rows=rows)


def line(row: Row, place: int) -> str:
    """Sum a trial that ended up in a line.

    Args:
        row: The trial.
        place: How many trials ended up to this one.
    """
    settings = " ".join(f"{path.split('.')[-1]}={short(value)}" for path, value in row.settings.items())
    epochs = f"{row.epochs} epochs" if row.epochs != 1 else "1 epoch"
    reason = f": {cause(row)}" if row.reason else ""
    return f"trial {place}  {number(row.score)}  {row.state:<8}  {epochs}  {settings}{reason}"


def cause(row: Row) -> str:
    """Return the first line of why a trial failed, without what would move a terminal's cursor."""
    first = next(iter(row.reason.strip().splitlines()), "")
    return "".join(letter if letter.isprintable() else " " for letter in first)


def number(score: float | None) -> str:
    """Write a score for a reader: four decimals, or three digits where those would show nothing."""
    if score is None:
        return "-"
    return f"{score:.4f}" if score == 0 or 1e-3 <= abs(score) < 1e6 else f"{score:.3g}"


def short(value: Any) -> str:
    """Write a setting in few letters."""
    if isinstance(value, str):
        return value
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace(" ", "")


def endings(paths: Collection[str]) -> dict[str, str]:
    """Shorten each path to its last part, or to as many last parts as tell it from all others."""
    return {path: _ending(path, paths) for path in paths}


def _ending(path: str, paths: Iterable[str]) -> str:
    parts = path.split(".")
    tails = (".".join(parts[place:]) for place in range(len(parts) - 1, -1, -1))
    others = [f".{other}" for other in paths if other != path]
    return next((tail for tail in tails if not any(other.endswith(f".{tail}") for other in others)), path)


def _ranked(rows: Iterable[Row], *, is_maximised: bool) -> list[Row]:
    """Sort the rows that have a score, the best first; of equals the earlier is better."""
    scored = [(row.score, row) for row in rows if row.score is not None and not math.isnan(row.score)]
    return [row for _, row in sorted(scored, key=lambda pair: (-pair[0] if is_maximised else pair[0], pair[1].number))]

"""A study laid out for a terminal: where it stands, the last failure, the best trials and those that run."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from raymle.tune.progress import (
    Progress,
    Row,
    cause,
    counts,
    endings,
    eta_s,
    leaders,
    left_s,
    number,
    short,
)

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

BEST, RUNNING = 8, 8
"""Most rows of each."""
CELL, OTHERS, LEAST = 18, 20, 8
"""Letters: most of one setting, least of the column that the others share, least for any setting."""
GAP = 2
STYLES = {"running": "cyan", "finished": "", "stopped": "yellow", "failed": "red"}

Part = tuple[str, str]
"""A text and its style."""
Column = tuple[str, list[str]]
"""A header and a cell for each row."""


def view(progress: Progress, width: int) -> "Group":
    """Lay a study out for a terminal that is ``width`` letters wide."""
    from rich.console import Group
    from rich.text import Text

    top = leaders(progress, BEST)
    running = [row for row in progress.rows if row.state == "running" and row not in top]
    shown, hidden = [*top, *running[:RUNNING]], len(running[RUNNING:])
    failure = _spaced(_failure(progress))
    failure.truncate(2 * width - 2, overflow="ellipsis")
    parts: list[Any] = [_spaced(_counted(progress)), _spaced(_spent(progress)), _spaced(_budget(progress)), failure]
    parts += [_table(progress, shown, width)] if shown else []
    parts += [Text(f"and {hidden} more that run", style="dim")] if hidden else []
    return Group(*filter(bool, parts))


def settings(rows: Sequence[Row], room: int) -> list[Column]:
    """Lay settings out in ``room`` letters: a column each, those that differ first; what does not fit shares one.

    Without room for a few letters there is no column at all.
    """
    if room < LEAST:
        return []
    names = endings({path: None for row in rows for path in row.settings})
    cells = {path: [_cell(row, path) for row in rows] for path in names}
    order = sorted(names, key=lambda path: len(set(cells[path])) == 1)
    widths = [max(map(len, (names[path], *cells[path]))) + GAP for path in order]
    if sum(widths) - GAP <= room:
        return [(names[path], cells[path]) for path in order]
    fit = sum(sum(widths[: place + 1]) <= room - OTHERS for place in range(len(widths)))
    rest = [
        " ".join(f"{names[path]}={_cell(row, path)}" for path in order[fit:] if path in row.settings) for row in rows
    ]
    left = room - sum(widths[:fit])
    own = [(names[path], cells[path]) for path in order[:fit]]
    return [*own, ("others" if fit else "settings", [_cut(text, left) for text in rest])]


def _counted(progress: Progress) -> Iterable[Part]:
    found = counts(progress)
    yield f"trials {len(progress.rows) - found['running']}/{progress.trials}", "bold"
    yield f"{found['running']} running", STYLES["running"]
    yield f"{found['finished']} finished", ""
    yield f"{found['stopped']} stopped early", STYLES["stopped"] if found["stopped"] else ""
    yield f"{found['failed']} failed", STYLES["failed"] if found["failed"] else ""


def _spent(progress: Progress) -> Iterable[Part]:
    for row in leaders(progress, 1):
        yield f"best {progress.metric} {number(row.score)} (trial {row.number})", "bold green"
    yield f"{_time(progress.elapsed_s)} elapsed", ""
    eta = eta_s(progress)
    if eta is not None:
        yield f"about {_time(eta)} to go", ""


def _budget(progress: Progress) -> Iterable[Part]:
    left = left_s(progress)
    if left is not None:
        yield f"{_time(left)} of {progress.minutes:g} min left", ""
    if progress.dollars or progress.max_dollars is not None:
        yield f"${progress.dollars:.2f} spent", ""
    if progress.max_dollars is not None:
        yield f"${max(progress.max_dollars - progress.dollars, 0.0):.2f} of ${progress.max_dollars:.2f} left", ""


def _failure(progress: Progress) -> Iterable[Part]:
    for row in [row for row in progress.rows if row.state == "failed"][-1:]:
        yield f"trial {row.number} failed: {cause(row)}", STYLES["failed"]


def _table(progress: Progress, rows: Sequence[Row], width: int) -> "Table":
    from rich.table import Table
    from rich.text import Text

    facts: list[Column] = [
        ("trial", [str(row.number) for row in rows]),
        (progress.metric if len(progress.metric) < CELL else "score", [number(row.score) for row in rows]),
        ("state", [row.state for row in rows]),
        ("epochs", [f"{row.epochs}/{row.most_epochs}" for row in rows]),
    ]
    if any(row.values[1:] for row in rows):
        facts.append(("other objectives", [" ".join(map(short, row.values[1:])) for row in rows]))
    room = width - sum(max(map(len, (name, *cells))) + GAP for name, cells in facts)
    columns = [*facts, *settings(rows, room)]
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for name, _ in columns:
        table.add_column(Text(name), no_wrap=True, overflow="ellipsis")
    best = leaders(progress, 1)
    for row, cells in zip(rows, zip(*(cells for _, cells in columns), strict=True), strict=True):
        table.add_row(*map(Text, cells), style="bold green" if row in best else STYLES[row.state])
    return table


def _cell(row: Row, path: str) -> str:
    return _cut(short(row.settings[path]), CELL) if path in row.settings else ""


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _spaced(parts: Iterable[Part]) -> "Text":
    from rich.text import Text

    return Text("  ").join(Text(text, style=style) for text, style in parts)


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))

"""One HTML page that says what a study found, with everything in it: it opens without a network."""

from collections.abc import Iterator
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from raymle import page
from raymle.store import write_durably
from raymle.tune.pictures import Picture, pictures
from raymle.tune.progress import Progress, Row, best, counts, endings, epochs_saved, leaders, number, short
from raymle.tune.shown import objectives

if TYPE_CHECKING:
    import optuna

WHY = "why it failed"
LONGEST = 600
"""Letters of a reason."""
DRAW = """
const figures = JSON.parse(document.getElementById("figures").textContent);
for (const [name, figure] of Object.entries(figures)) {
  Plotly.newPlot(name, figure.data, figure.layout, {responsive: true, displaylogo: false});
}
"""


def write(out: Path, study: "optuna.Study", progress: Progress, *, name: str) -> Path:
    """Write ``study.html`` into a folder and return the page.

    Args:
        out: The study's folder.
        study: The proposals and what they came to, by Optuna.
        progress: What raymle knows of the trials; Optuna's have the run of theirs as an attribute.
        name: The experiment's.
    """
    path = out / "study.html"
    out.mkdir(parents=True, exist_ok=True)
    write_durably(path, render(study, progress, name=name).encode(errors="replace"))
    return path


def render(study: "optuna.Study", progress: Progress, *, name: str) -> str:
    """Fill the page; whatever a spec or an error says is text in it, never markup."""
    from plotly.offline import get_plotlyjs

    drawn = pictures(study, progress)
    header, rows = _table(progress, objectives(study, progress))
    return page.fill(
        files("raymle.tune").joinpath("study.html.j2").read_text("utf-8"),
        name=name,
        progress=progress,
        facts=list(_facts(progress)),
        best=best(progress),
        pictures=drawn,
        figures=_json(drawn),
        header=header,
        rows=rows,
        why=WHY in header,
        scripts=[get_plotlyjs(), DRAW] if any(picture.figure for picture in drawn) else [],
    )


def _facts(progress: Progress) -> Iterator[tuple[str, str, str]]:
    """Yield the title of each fact, its number, and what is small under it."""
    found, first = counts(progress), best(progress)
    saved = epochs_saved(progress)
    all_epochs = saved + sum(row.epochs for row in progress.rows)
    ends = [(found["finished"], "finished"), (found["stopped"], "stopped early"), (found["failed"], "failed")]
    limit = "" if progress.max_dollars is None else f"of ${progress.max_dollars:,.2f}"
    yield f"best {progress.metric}", number(first.score if first else None), f"trial {first.number}" if first else ""
    yield "trials", f"{len(progress.rows):,}", ", ".join(f"{count:,} {state}" for count, state in ends if count)
    yield "epochs saved", f"{saved:,}", f"of {all_epochs:,} by stopping early: {saved / max(all_epochs, 1):.0%}"
    yield "time", str(timedelta(seconds=round(progress.elapsed_s))), f"up to {progress.at_once:,} trials at one time"
    yield "spent", f"${progress.dollars:,.2f}", limit


def _table(progress: Progress, objectives: list[str]) -> tuple[list[str], list[list[str]]]:
    """List all trials, the best first and the failed last; the last column, if there is one that did, says why."""
    ranked = leaders(progress, len(progress.rows))
    numbers = {row.number for row in ranked}
    rows = [*ranked, *(row for row in progress.rows if row.number not in numbers)]
    names = endings({path: None for row in rows for path in row.settings})
    why = [WHY] if any(row.reason for row in rows) else []
    header = ["trial", *objectives, "state", "epochs", "seconds", *names.values(), "run", *why]
    return header, [_cells(row, len(objectives), list(names))[: len(header)] for row in rows]


def _cells(row: Row, objectives: int, paths: list[str]) -> list[str]:
    others = [*map(number, row.values[1:objectives]), *["-"] * objectives][: objectives - 1]
    settings = [short(row.settings[path]) if path in row.settings else "" for path in paths]
    epochs, seconds = f"{row.epochs}/{row.most_epochs}", f"{row.seconds:,.1f}"
    reason = row.reason.strip()[:LONGEST]
    return [str(row.number), number(row.score), *others, row.state, epochs, seconds, *settings, row.run_id, reason]


def _json(drawn: list[Picture]) -> str:
    """Put the figures into one JSON document that can stand inside a script element."""
    figures = ", ".join(f'"{picture.name}": {picture.figure}' for picture in drawn if picture.figure)
    return f"{{{figures}}}".replace("<", "\\u003c")

"""``raymle data``: look at the data and its splits; no sealed row is read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raymle.cli.answer import Answer, table, verb
from raymle.cli.options import Json, Profile, SpecWords, experiment
from raymle.errors import UsageError

if TYPE_CHECKING:
    from raymle import records

MOST_COLUMNS, MOST_FINDINGS, WIDEST = 60, 20, 60
Output = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="Write an HTML page with histograms as well.")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Look at the data and its splits.")
    group.command("show")(verb(show))
    group.command("split")(verb(split))
    app.add_typer(group, name="data")


def show(words: SpecWords = None, output: Output = None, profile: Profile = None, json: Json = False) -> Answer:
    """Show each column's type, role and statistics, and what looks wrong; no test row is looked at.

    Leakage, private-looking columns, ids, constants and columns that say the same are told with what to do.
    """
    if output and output.is_dir():
        raise UsageError(f"--output {output} is a folder", hint="name a file, such as data.html")
    document = experiment(words, profile).show(output=output)
    return Answer(document, _show_text(document), json, note=f"page: {output}" if output else "")


def _show_text(document: dict[str, Any]) -> str:
    """Write a line for each column, then the findings."""
    from raymle.data.summary import brief, share

    columns, findings = document["columns"], document["findings"]
    lines = [
        (each["column"], each["type"], each["role"], share(each["missing"]) if "missing" in each else "",
         each.get("distinct"), _cut(brief(each)))
        for each in columns[:MOST_COLUMNS]
    ]  # fmt: skip
    rows = ", ".join(f"{count:,} {side}" for side, count in document["rows"].items())
    sampled = " and ".join(f"{count:,} {side}" for side, count in document["sampled"].items())
    parts = [table(("column", "type", "role", "missing", "distinct", "values"), lines), ""]
    if len(columns) > MOST_COLUMNS:
        parts.insert(1, f"and {len(columns) - MOST_COLUMNS:,} more columns: --output data.html, or --json")
    parts.append(f"rows: {rows}; figures are of a sample of {sampled} rows")
    parts += [f"left out: {each}" for each in document["left_out"]]
    if findings:
        parts += ["", *(f"- {each['text']}" for each in findings[:MOST_FINDINGS])]
    if len(findings) > MOST_FINDINGS:
        parts.append(f"and {len(findings) - MOST_FINDINGS:,} more: --output data.html, or --json")
    return "\n".join(parts)


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def split(words: SpecWords = None, profile: Profile = None, json: Json = False) -> Answer:
    """Prepare the splits and compare their distributions."""
    splits = experiment(words, profile).prepare()
    document = splits.model_dump(mode="json", include={"rows", "fingerprints", "distribution"})
    return Answer(document, _split_text(splits), json, note="\n".join(f"warning: {each}" for each in splits.warnings))


def _split_text(splits: "records.Splits") -> str:
    sides = [(side, count, splits.fingerprints[side]) for side, count in splits.rows.items()]
    lines = [table(("split", "rows", "fingerprint"), sides)]
    if splits.distribution:
        apart = sorted(splits.distribution, key=lambda drift: -drift.psi)[:10]
        found = [(drift.column, drift.split, drift.psi, drift.statistic, drift.p_value) for drift in apart]
        lines += ["", "furthest from train:", table(("column", "split", "psi", "statistic", "p"), found)]
    return "\n".join(lines)

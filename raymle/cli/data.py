"""``raymle data``: look at the data and its splits; no sealed row is read."""

from typing import TYPE_CHECKING, Any

import typer

from raymle.cli.answer import Answer, table, verb
from raymle.cli.options import Json, Profile, SpecWords, experiment

if TYPE_CHECKING:
    from raymle import records


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Look at the data and its splits.")
    group.command("show")(verb(show))
    group.command("split")(verb(split))
    app.add_typer(group, name="data")


def show(words: SpecWords = None, profile: Profile = None, json: Json = False) -> Answer:
    """Show each column's type, role, statistics and whether it looks private; no test row is counted."""
    summary = experiment(words, profile).show()
    columns: list[dict[str, Any]] = summary["columns"]
    heads = list(dict.fromkeys(head for column in columns for head in column))
    text = table(heads, [[_shown(column.get(head)) for head in heads] for column in columns])
    rows = ", ".join(f"{count:,} {side}" for side, count in summary["rows"].items())
    return Answer(summary, f"{text}\n\nrows: {rows}", json)


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


def _shown(value: Any) -> object:
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:.4g}" if isinstance(value, float) else value

"""A comparison as tables for people: the numbers with models as rows, the bands with models as columns."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from raymle.text import table

if TYPE_CHECKING:
    from raymle.evaluate.compare import Comparison, Row

CRITERIA = {
    "quality": "Quality",
    "latency_ms": "Inference latency",
    "batch_latency_ms": "Batch latency",
    "memory_mb": "Inference memory",
    "size_mb": "Size on disk",
    "parameters": "Parameters",
    "train_seconds": "Training time",
    "dollars": "Training cost",
    "epochs": "Epochs to converge",
}
"""The criteria of the table of bands, as readers call them."""
FRONT = "* on the Pareto front: no other is at least as good in quality, latency, memory, training time and cost alike"
MOST_NAME = 48


class Table(NamedTuple):
    """A table whose cells are text."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def numbers(comparison: "Comparison") -> Table:
    """Return what was measured, a model a row; a star marks the Pareto front."""
    head = (
        "", "model", comparison.metric, "95 % interval", "1 row, ms", "p95, ms", "64 rows, ms", "memory, MB",
        "size, MB", "parameters", "train, s", "dollars", "epochs", "run",
    )  # fmt: skip
    return Table("Measured", head, [_numbers(row) for row in comparison.rows])


def _numbers(row: "Row") -> tuple[str, ...]:
    interval = "{:.4f} to {:.4f}".format(*row.interval) if row.interval else ""
    return (
        "*" if row.pareto else "", row.name or row.model, f"{row.quality:.4f}", interval,
        short(row.latency_ms), short(row.latency_p95_ms), short(row.batch_latency_ms), short(row.memory_mb),
        short(row.size_mb), short(row.parameters), short(row.train_seconds), short(row.dollars), short(row.epochs),
        row.run_id,
    )  # fmt: skip


def in_bands(comparison: "Comparison") -> Table:
    """Return each criterion's bands, a model a column."""
    names = {**CRITERIA, "quality": f"Quality, {comparison.metric}"}
    head = ("", *(row.name or row.model for row in comparison.rows))
    rows = [(words, *(row.bands[name].capitalize() for row in comparison.rows)) for name, words in names.items()]
    front = ("Pareto front", *("yes" if row.pareto else "" for row in comparison.rows))
    return Table("In bands", head, [*rows, front])


def text(comparison: "Comparison") -> str:
    """Write a comparison for a terminal."""
    parts = [table(each.head, each.rows) for each in (numbers(comparison), in_bands(comparison))]
    notes = [FRONT, f"measured one at a time on: {comparison.machine}", *(f"note: {note}" for note in comparison.notes)]
    picked = [f"pick: {comparison.why}"] if comparison.why else []
    return "\n\n".join([*parts, "\n".join(notes), *picked])


def html(comparison: "Comparison") -> str:
    """Write the tables for a notebook; names are text in it, never markup."""
    return "".join(_table(each) for each in (numbers(comparison), in_bands(comparison)))


def _table(each: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in each.head)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in each.rows)
    return f"<table><caption>{escape(each.title)}</caption><tr>{head}</tr>{rows}</table>"


def short(value: float | None) -> str:
    """Write a number with three digits, or all of those before the point."""
    if value is None:
        return "?"
    return f"{value:,.0f}" if abs(value) >= 100 or not value else f"{value:.3g}"


def models(count: int) -> str:
    """Count models in words."""
    return f"{count} model{'s' * (count != 1)}"


def named(values: Sequence[dict[str, Any]], models: Sequence[str]) -> list[str]:
    """Name models by their type, and by the settings in which those of one type differ.

    Args:
        values: For each model its settings by their dotted paths.
        models: For each model its type.
    """
    found = []
    for mine, model in zip(values, models, strict=True):
        alike = [each for each, other in zip(values, models, strict=True) if other == model]
        differing = [path for path in dict.fromkeys(key for each in alike for key in each)
                     if any(each.get(path) != mine.get(path) for each in alike)]  # fmt: skip
        told = [f"{path.rpartition('.')[2]} {_plain(mine[path])}" for path in differing if path in mine]
        found.append(_cut(", ".join([model, *told])))
    return [name if found.count(name) == 1 else f"{name} #{place}" for place, name in enumerate(found, 1)]


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cut(name: str) -> str:
    return name if len(name) <= MOST_NAME else f"{name[: MOST_NAME - 1]}…"

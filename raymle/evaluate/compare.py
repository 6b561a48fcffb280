"""Models side by side: what each is worth and what it costs, and which to take. Pure."""

from collections.abc import Sequence
from typing import Any, Self

from pydantic import Field

from raymle.errors import GateRefused
from raymle.evaluate import limits, standing, tables
from raymle.evaluate.gate import failing
from raymle.measure.metrics import higher_is_better
from raymle.records import Metrics, Record

FOR_PEOPLE = {"name", "metrics"}
"""Fields of a row that are not in its document."""


class Row(Record):
    """One model: how good it is, and what it takes."""

    run_id: str
    model: str
    quality: float
    """The deciding metric on validation."""
    interval: tuple[float, float] | None
    """Its 95 % interval."""
    latency_ms: float
    latency_p95_ms: float
    batch_latency_ms: float
    memory_mb: float
    size_mb: float
    parameters: int
    train_seconds: float
    dollars: float | None
    """None when nobody knows the price."""
    epochs: int
    """Epochs to converge: the one whose weights were kept."""
    pareto: bool = False
    bands: dict[str, str] = Field(default_factory=dict)
    name: str = ""
    """What tells it from the others in a table."""
    metrics: Metrics = Field(default_factory=dict)
    """All of its metrics on validation."""


class Comparison(Record):
    """Models that were measured on one machine, one at a time."""

    machine: str
    metric: str
    rows: tuple[Row, ...]
    picked: str | None = None
    """Run of the model that was asked for."""
    why: str = ""
    """Why that one, in a sentence."""
    notes: tuple[str, ...] = ()
    """What a reader of the numbers should know."""

    @property
    def document(self) -> dict[str, Any]:
        """The stable JSON shape."""
        rows = [row.model_dump(mode="json", exclude=FOR_PEOPLE) for row in self.rows]
        return {"machine": self.machine, "rows": rows, "pick": self.picked}

    @property
    def names(self) -> tuple[str, ...]:
        """What can be picked by and limited: the columns, and every metric that some row has."""
        return (*limits.COLUMNS, *dict.fromkeys(name for row in self.rows for name in row.metrics))

    def pick(self, metric: str | None = None, *conditions: str) -> Row:
        """Return the best row by a metric, or any column, among those that meet every condition.

        Raises:
            SpecError: there is no such name.
            GateRefused: no row meets them.
        """
        limits.check_name("pick", metric or self.metric, self.names, kind="a column or a metric")
        limits.check("limit", conditions, self.names, kind="a column or a metric")
        return pick(self.rows, metric or self.metric, conditions, deciding=self.metric)

    def picking(self, metric: str | None = None, *conditions: str) -> Self:
        """Return the comparison with its pick and why; raises as ``pick`` does."""
        row = self.pick(metric, *conditions)
        why = reason(self.rows, row, metric or self.metric, conditions, deciding=self.metric)
        return self.model_copy(update={"picked": row.run_id, "why": why})

    def __repr__(self) -> str:
        return tables.text(self)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return tables.html(self)


def compared(machine: str, metric: str, rows: Sequence[Row], *, notes: Sequence[str] = ()) -> Comparison:
    """Put rows side by side: each gets its bands, and whether it is on the Pareto front."""
    told = [standing.bands(rows, name, metric) for name in limits.COLUMNS]
    fronts = standing.pareto(rows, metric)
    placed = tuple(
        row.model_copy(update={"pareto": front, "bands": dict(zip(limits.COLUMNS, mine, strict=True))})
        for row, front, *mine in zip(rows, fronts, *told, strict=True)
    )
    return Comparison(machine=machine, metric=metric, rows=placed, notes=tuple(notes))


def facts(row: Row) -> Metrics:
    """Return all numbers of a row by their names; what is not known is absent."""
    columns = {name: getattr(row, name) for name in limits.COLUMNS}
    return row.metrics | {name: float(value) for name, value in columns.items() if value is not None}


def is_gain(name: str, deciding: str) -> bool:
    """Whether more of a column or metric is better."""
    return name not in limits.COSTS and higher_is_better(deciding if name == "quality" else name)


def pick(rows: Sequence[Row], metric: str, conditions: Sequence[str], *, deciding: str) -> Row:
    """Return the best row by a metric or column among those that meet every condition; of equals the first.

    Args:
        rows: The models.
        metric: A metric, or a column of the rows.
        conditions: What the row must meet.
        deciding: The metric that the rows' quality is.

    Raises:
        GateRefused: no row meets them; the nearest miss is named with its values.
    """
    within = [row for row in rows if not failing(conditions, facts(row))]
    if not within:
        raise limits.refusal(conditions, [(called(row), facts(row)) for row in rows])
    ranked = _ranked(within, metric, deciding)
    if not ranked:
        raise GateRefused(f"no model within the limits has a {metric}", hint="pick by another column")
    return ranked[0]


def reason(rows: Sequence[Row], row: Row, metric: str, conditions: Sequence[str], *, deciding: str) -> str:
    """Say why a row was picked, and what was better and is not within the limits."""
    among = sum(not failing(conditions, facts(each)) for each in rows)
    most = "highest" if is_gain(metric, deciding) else "lowest"
    told = f"{called(row)}: the {most} {metric}, {facts(row)[metric]:.4g}, of {tables.models(among)}"
    told += f" within {' and '.join(conditions)}" if conditions else ""
    best = _ranked(rows, metric, deciding)[0]
    if best == row:
        return told
    return f"{told}; {called(best)} has {facts(best)[metric]:.4g}, but " + ", ".join(failing(conditions, facts(best)))


def called(row: Row) -> str:
    """Name a row for a sentence."""
    return f"{row.name or row.model}, run {row.run_id}"


def _ranked(rows: Sequence[Row], metric: str, deciding: str) -> list[Row]:
    """Sort the rows that have a metric or column, the best first."""
    known = [(row, facts(row)[metric]) for row in rows if metric in facts(row)]
    return [row for row, _ in sorted(known, key=lambda pair: pair[1], reverse=is_gain(metric, deciding))]

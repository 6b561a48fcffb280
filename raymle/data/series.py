"""From a table of moments to a table of windows, which is then a table like any other.

Its key is the series and the moment that is forecast; each number's past is a column of lists, and the target is called
after how many steps it is ahead.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.config.data import DataConfig, SeriesConfig
from raymle.data import infer as raw
from raymle.data import steps, windows
from raymle.data.casts import ARROW, canonical, decoded, plain
from raymle.data.moments import Moments, check, cleared, first_word, not_a_time, read_times, unknown
from raymle.data.schema import missing
from raymle.data.source import Source, batches
from raymle.data.steps import Step, Times
from raymle.errors import DataError, ResourceError
from raymle.records import Column, Schema, Series

MOST_BYTES = 8 << 30
"""Of all windows: they are made in memory."""
SAMPLE_ROWS = 10_000


class Windowed(NamedTuple):
    """A table of windows, what its columns are, and what was noticed on the way."""

    source: Source
    schema: Schema
    told: tuple[str, ...]


def infer(
    source: Source,
    data: DataConfig,
    *,
    by: str | None = None,
    apply: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None,
) -> Schema:
    """Return what each column is; of a forecast, those of its windows, the step still to be found."""
    if not data.is_forecast:
        return raw.infer(source, data, by=by, apply=apply)
    config = data.series or SeriesConfig()
    _check_time(source, str(data.time))
    moments = raw.described(source, data.model_copy(update={"task": "regression", "series": None}))
    found = Series(
        target=data.target, time=str(data.time), group=data.group, window=config.window, horizon=config.horizon
    )
    return _of_windows(moments, found)


def _check_time(source: Source, name: str) -> None:
    """Refuse a time column of words by its first row that is none; what is not there, or later, is found elsewhere."""
    if name in source.columns.names and pa.types.is_string(source.columns.field(name).type):
        sample = raw.head(source, SAMPLE_ROWS)[name].combine_chunks()
        place = first_word(sample)
        if place is not None:
            raise not_a_time(name, place, sample[place].as_py())


def _of_windows(moments: Schema, series: Series) -> Schema:
    """Return the schema of the windows of moments.

    Raises:
        DataError: two columns would have one name.
    """
    label = f"{series.target}+{series.horizon}"
    if label in {column.name for column in moments.columns}:
        raise DataError(f"column {label!r} has the name of what is forecast", hint="rename it")
    columns = [_column(column, series) for column in moments.columns]
    ahead = f"{series.target}, {series.horizon} step{'s' * (series.horizon > 1)} ahead"
    columns.append(Column(name=label, type="number", role="target", reason=ahead))
    deciding = tuple(sorted(name for name in (series.group, series.time) if name))
    return Schema(columns=tuple(columns), target=label, task="regression", deciding=deciding, series=series)


def _column(column: Column, series: Series) -> Column:
    if column.name == series.time:
        reason = "the moment that is forecast"
        if column.type == "timestamp":
            return Column(name=column.name, type="timestamp", role="feature", reason=reason, also=("key", "time"))
        return _key(column.model_copy(update={"reason": reason}))
    if column.name == series.group:
        return Column(name=column.name, type="category", role="key", reason="names a series", also=("group",))
    if column.name == series.target or (column.role == "feature" and column.type in {"number", "boolean"}):
        reason = f"its last {series.window} steps"
        whole = column.name == series.target  # a window that lacks one is no window
        return Column(
            name=column.name, type="sequence", role="feature", reason=reason, steps=series.window, whole=whole
        )
    reason = column.reason if column.role == "drop" else f"{column.type} columns have no window"
    return Column(name=column.name, type=column.type, role="drop", reason=reason)


def _key(time: Column) -> Column:
    """Return a time that is no input: a number, or moments whose parts never come again."""
    return time.model_copy(update={"role": "key", "also": ("time",)})


def windowed(source: Source, data: DataConfig, schema: Schema) -> Windowed:
    """Make the windows that are trained and judged on.

    Raises:
        DataError: the moments are not what a series is made of, naming the series and the row.
        ResourceError: the windows do not fit into memory.
    """
    assert schema.series is not None
    config = data.series or SeriesConfig()
    moments = check(_read(source, schema), schema.series, labelled=True)
    step = _step(config, moments)
    season, told = _season(config, step)
    series = schema.series.model_copy(
        update={"step": step.size, "monthly": step.monthly, "season": season, "parts": steps.parts(moments.times, step)}
    )
    columns = tuple(column if series.parts or column.name != series.time else _key(column) for column in schema.columns)
    schema = schema.model_copy(update={"series": series, "columns": columns})
    table, noticed = _table(moments, schema, step, ahead=False)
    return Windowed(_as_source(table), schema, (*told, *noticed))


def rewindowed(source: Source, schema: Schema, *, labelled: bool = False) -> Windowed:
    """Make the windows that a model is asked about; without labels also those of the moments after the last.

    Raises:
        DataError: the moments are not what a series is made of, naming the series and the row.
        ResourceError: the windows do not fit into memory.
    """
    series = schema.series
    assert series is not None
    moments = check(_read(source, schema), series, labelled=labelled)
    step = Step(series.step, series.monthly, is_time=_time(schema).type == "timestamp")
    table, noticed = _table(moments, schema, step, ahead=not labelled)
    if labelled:
        return Windowed(_as_source(table), schema, noticed)
    return Windowed(_as_source(table.drop_columns([schema.target])), schema, noticed)


def _as_source(table: pa.Table) -> Source:
    return Source((), "table", table.nbytes, table.schema, table)


def _time(schema: Schema) -> Column:
    return next(column for column in schema.columns if "time" in {column.role, *column.also})


def _numbers(schema: Schema) -> list[str]:
    return [column.name for column in schema.features if column.type == "sequence"]


def _read(source: Source, schema: Schema) -> Moments:
    """Read what windows are made of, in canonical types."""
    series = schema.series
    assert series is not None
    wanted = [name for name in (series.time, series.group, *_numbers(schema)) if name]
    absent = next((name for name in wanted if name not in source.columns.names), None)
    if absent is not None:
        raise missing(absent, source.columns.names)
    parts = [decoded(pa.Table.from_batches([batch])) for batch in batches(source, wanted)]
    found = pa.concat_tables(parts) if parts else source.columns.empty_table()
    columns = {name: found[name].combine_chunks() for name in wanted}
    times = read_times(columns[series.time], _time(schema))
    group = plain(canonical(columns[series.group], _as(series.group, "category"))) if series.group else None
    numbers = {name: _float(canonical(columns[name], _as(name, "number"))) for name in _numbers(schema)}
    return Moments(times, group, numbers, series.target)


def _as(name: str, kind: Any) -> Column:
    return Column(name=name, type=kind, role="feature")


def _float(values: pa.Array) -> NDArray[np.float64]:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def _step(config: SeriesConfig, moments: Moments) -> Step:
    if config.step != "auto":
        return steps.parsed(config.step, is_time=moments.is_time)
    return steps.commonest(moments.times, moments.follows)


def _season(config: SeriesConfig, step: Step) -> tuple[int, tuple[str, ...]]:
    """Return the season, and a warning where the natural one is longer than the window."""
    if isinstance(config.season, int):
        return config.season, ()
    natural = steps.season(step)
    if natural <= config.window:
        return natural, ()
    told = (
        f"a season of {natural} steps is longer than the window of {config.window}, so seasonal naive is the last "
        f"value; data.series.window={natural} gives it one"
    )
    return 1, (told,)


def _table(moments: Moments, schema: Schema, step: Step, *, ahead: bool) -> tuple[pa.Table, tuple[str, ...]]:
    series = schema.series
    assert series is not None
    names = _numbers(schema)
    rows = windows.ordered(moments.times, moments.codes, step)
    known = ~np.isnan(moments.numbers[series.target])
    chosen = windows.choose(rows, known, window=series.window, horizon=series.horizon, ahead=ahead)
    told = cleared(moments, rows, chosen, series)
    if not known.all():
        every = windows.choose(rows, np.ones_like(known), window=series.window, horizon=series.horizon, ahead=ahead)
        told += unknown(moments, ~known, len(every.ends) - len(chosen.ends))
    if (needed := len(chosen.ends) * series.window * len(names) * 8) > MOST_BYTES:
        raise ResourceError(
            f"{len(chosen.ends):,} windows of {series.window} steps and {len(names)} columns are {needed >> 30} GiB",
            hint="take a shorter data.series.window, or name columns under data.drop",
        )
    made = windows.table(chosen, {name: moments.numbers[name] for name in names}, series.window)
    arrays = {column.name: _made(column, made, chosen, moments, schema) for column in schema.columns
              if column.role != "drop"}  # fmt: skip
    return pa.table(arrays), told


def _made(column: Column, made: dict[str, pa.Array], chosen: windows.Chosen, moments: Moments, schema: Schema) -> Any:
    assert schema.series is not None
    if column.name in made:
        return made[column.name]
    if column.name == schema.target:
        return pa.array(windows.targets(chosen, moments.numbers[schema.series.target]), from_pandas=True)
    if column.name == schema.series.time:
        return pa.array(chosen.times).cast(ARROW[column.type])
    return pc.take(pa.array(moments.names, pa.string()), pa.array(chosen.groups))


def times_of(table: pa.Table, series: Series) -> Times:
    """Return the moment of each window."""
    times = table[series.time]
    return np.asarray((times.cast(pa.int64()) if pa.types.is_timestamp(times.type) else times).to_numpy())


def lines_of(table: pa.Table, series: Series) -> NDArray[np.int64]:
    """Return which series each window is of, by its place among their names in order."""
    if series.group is None:
        return np.zeros(table.num_rows, np.int64)
    names = table[series.group].combine_chunks()
    return np.asarray(pc.index_in(names, names.unique().sort()).to_numpy(), np.int64)


def keep_moments(folder: Path, table: pa.Table, series: Series, sides: NDArray[np.uint8]) -> None:
    """Write the moment and the series of train and validation rows beside their arrays, in the same order."""
    times, lines = times_of(table, series), lines_of(table, series)
    for place, name in enumerate(("train", "validation")):
        np.save(folder / name / "times.npy", times[sides == place], allow_pickle=False)
        np.save(folder / name / "lines.npy", lines[sides == place], allow_pickle=False)

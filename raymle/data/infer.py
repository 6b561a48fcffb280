"""What each column is and what it is for, with the reason, from a sample of the rows and the spec."""

import re
from collections.abc import Callable
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from raymle.config.data import DataConfig
from raymle.data import image_files, images
from raymle.data.casts import PATTERNS, is_text
from raymle.data.formats import has_leading_zeros
from raymle.data.guess import FEW_VALUES, NESTED, guess, is_numeric
from raymle.data.schema import missing
from raymle.data.source import Source, batches
from raymle.data.texts import is_prose
from raymle.errors import DataError
from raymle.records import Column, Role, Schema

GUESSED = "the target has"
KEY_NAME = re.compile(r"(?i)(^|_)(id|key|uuid|guid)$|^index$")
NOT_FEATURES: set[Role] = {"key", "group", "split"}
Task = Literal["classification", "regression"]


def infer(
    source: Source,
    data: DataConfig,
    *,
    by: str | None = None,
    apply: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None,
    sample_rows: int = 50_000,
) -> Schema:
    """Return every column's type and role; classes come from the contract, which sees all rows.

    A column in several roles has the first of key, group, time and split, and ``also`` the others.

    Args:
        source: where the rows are.
        data: what the spec says about them; it overrules what is inferred.
        by: the column that says train, validation or test.
        apply: the user's own transforms of a batch.
        sample_rows: how many rows to look at.
    """
    schema = described(source, data, by=by, apply=apply, sample_rows=sample_rows)
    if not schema.features:
        dropped = [column for column in schema.columns if column.role == "drop"]
        why = "; ".join(f"{column.name}: {column.reason or column.role}" for column in dropped)
        raise DataError(f"no column is left to predict {data.target!r} from", hint=why)
    return schema


def described(
    source: Source,
    data: DataConfig,
    *,
    by: str | None = None,
    apply: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None,
    sample_rows: int = 50_000,
) -> Schema:
    """Do what ``infer`` does, also where there is no feature: a series has its own past."""
    if source.aside and source.table is not None and data.target == image_files.LABEL:
        image_files.refuse_loose(source.table, source.name)
    sample = head(source, sample_rows, apply=apply)
    _check_names(data, by, sample.column_names)
    task, why = _task(sample[data.target], data)
    columns = [
        Column(name=name, type="category" if task == "classification" else "number", role="target", reason=why)
        if name == data.target
        else _column(name, sample[name], data, by=by)
        for name in sample.column_names
    ]
    columns = [_aside(column, source) for column in columns]
    return Schema(columns=tuple(columns), target=data.target, task=task, anomaly=data.is_anomaly)


def _aside(column: Column, source: Source) -> Column:
    if column.name not in source.aside or column.role not in {"feature", "drop"}:
        return column
    return column.model_copy(update={"role": "drop", "reason": "it says where a file is, not what is in it"})


def words(data: DataConfig, *, by: str | None = None) -> set[str]:
    """Return the columns whose text is read as it stands, because the spec says what they are."""
    declared = {name for name, kind in data.types.items() if kind in {"category", "text"}}
    target = {data.target} if data.task in {"anomaly", "classification"} else set()
    return declared | target | {*data.key, *data.drop} | {name for name in (data.group, by) if name}


def words_of(schema: Schema) -> set[str]:
    """Return the columns whose text is read as it stands, because a model's schema says what they are."""
    found = {each.name for each in schema.columns if each.type in {"category", "text"} or each.role in NOT_FEATURES}
    spelled = all(re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", name) for name in schema.classes)
    return found - ({schema.target} if spelled else set())


def infer_roles(source: Source, target: str) -> Schema:
    """Guess roles too, for a first spec: ids become keys, the only timestamp orders rows, constants go."""
    sample = head(source, 50_000)
    schema = infer(source, DataConfig(source=source.name, target=target))
    moments = [column.name for column in schema.features if column.type == "timestamp"]
    guessed = []
    for column in schema.columns:
        role, reason = _guess_role(column, sample[column.name], only_moment=moments == [column.name])
        guessed.append(column.model_copy(update={"role": role, "reason": reason}))
    return schema.model_copy(update={"columns": tuple(guessed)})


def head(source: Source, rows: int, *, apply: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None) -> pa.Table:
    """Return the first rows; a column without values in them shows the first that it has later."""
    source, rows = image_files.sampled(source, rows)
    parts: list[pa.RecordBatch] = []
    for batch in batches(source, rows=rows):
        part = apply(batch) if apply else batch
        parts.append(part.slice(0, rows - sum(each.num_rows for each in parts)))
        if sum(each.num_rows for each in parts) >= rows:
            break
    if not sum(part.num_rows for part in parts):
        raise DataError(f"{source.name} has column names but no rows")
    names = parts[0].schema.names
    schema = pa.schema([(name, _common([part.schema.field(name).type for part in parts])) for name in names])
    table = pa.Table.from_batches([part.select(names).cast(schema) for part in parts])
    table = _readable(table)
    for index, name in enumerate(names):
        if apply is None and table[name].null_count == table.num_rows:
            table = table.set_column(index, name, _first_values(source, name, table.num_rows))
    return table


def _readable(table: pa.Table) -> pa.Table:
    """Give text one type, and say plainly which columns nothing can be done with."""
    for place, field in enumerate(table.schema):
        if pa.types.is_large_string(field.type) or pa.types.is_string_view(field.type):
            table = table.set_column(place, field.name, table[field.name].cast(pa.string()))
    return table


def _first_values(source: Source, name: str, rows: int) -> pa.Array:
    """Return that many rows of a column: the first batch with a value, filled up with nulls."""
    for batch in batches(source, [name]):
        values = batch.column(0)
        if values.null_count < len(values):
            known = values.cast(_common([values.type])).drop_null()[:rows]
            if source.format == "csv" and _reads_as_numbers(known):  # it is text only for want of a value
                known = pc.utf8_trim_whitespace(known).cast(pa.float64())
            return pa.concat_arrays([known, pa.nulls(rows - len(known), known.type)])
    return pa.nulls(rows)


def _reads_as_numbers(text: pa.Array) -> bool:
    if not pa.types.is_string(text.type) or has_leading_zeros(text):
        return False
    return bool(pc.all(pc.match_substring_regex(text, PATTERNS["number"])).as_py())


def _common(types: list[pa.DataType]) -> pa.DataType:
    """Return one type for the parts of a column, without dictionaries; text where they do not agree."""
    plain = [each.value_type if pa.types.is_dictionary(each) else each for each in types]
    try:
        schemas = [pa.schema([("column", each)]) for each in dict.fromkeys(plain)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowTypeError:
        return pa.string()


def _check_names(data: DataConfig, by: str | None, names: list[str]) -> None:
    roles = {"target": (data.target,), "key": data.key, "group": (data.group,), "time": (data.time,)}
    for role, wanted in {**roles, "split": (by,), "drop": data.drop, "types": tuple(data.types)}.items():
        for name in wanted:
            if name is not None and name not in names:
                raise missing(name, names, what=role)
            if name == data.target and role not in {"target", "types"}:
                raise DataError(f"column {name!r} is both target and {role}", hint="it can be only one of them")
    for name in data.drop:
        if name in {*data.key, data.group, data.time, by}:
            raise DataError(f"column {name!r} is dropped, but also has a role", hint="it can be only one of them")


def _task(target: pa.ChunkedArray, data: DataConfig) -> tuple[Task, str]:
    if data.task == "anomaly":
        return "classification", "which rows are anomalies"
    if data.task is not None:
        return data.task, "data.task says so"  # type: ignore[return-value]
    if data.target in data.types:
        task: Task = "regression" if data.types[data.target] == "number" else "classification"
        return task, f"data.types says {data.types[data.target]}"
    if pa.types.is_temporal(target.type) or (is_text(target.type) and guess(target)[0] == "timestamp"):
        raise DataError(
            f"target {data.target!r} is a moment",
            hint="predict something else, or say data.task: classification; a forecast's moments are data.time",
        )
    if not is_numeric(target.type):
        return "classification", "the target is not a number"
    known = target.drop_null()
    distinct = pc.count_distinct(known).as_py()
    whole = pc.all(pc.equal(pc.floor(known), known)).as_py()
    few = distinct <= 2 or (whole and distinct <= min(FEW_VALUES, len(known) / 10))
    return ("classification" if few else "regression"), f"{GUESSED} {distinct:,} different numbers"


def _column(name: str, values: pa.ChunkedArray, data: DataConfig, *, by: str | None) -> Column:
    role, *also = _roles(name, data, by)
    kind, reason = guess(values)
    if name in data.types:
        kind, reason = data.types[name], "data.types says so"
    elif role in NOT_FEATURES and kind != "timestamp" and "time" not in also:
        kind, reason = "category", ""
    if "time" in {role, *also} and kind not in {"timestamp", "number"}:
        raise DataError(
            f"time column {name!r} is {kind}, not a timestamp or number",
            hint="write moments as 2026-01-31T23:59:59Z",
        )
    if role == "feature" and not name:
        role, reason = "drop", "it has no name, like an index that pandas wrote"
    elif role == "feature" and reason == NESTED:
        role = "drop"
    elif role == "feature" and kind == "text" and name not in data.types and not is_prose(values):
        role, reason = "drop", f"{reason}{_not_words(name, values)}"
    shape = _shape(name, values, data) if kind == "image" else None
    return Column(name=name, type=kind, role=role, reason=reason, also=tuple(also), shape=shape)


def _shape(name: str, values: pa.ChunkedArray, data: DataConfig) -> tuple[int, int, int] | None:
    """Return what every image of a column is brought to."""
    if not images.is_bytes(values.type):
        raise DataError(
            f"column {name!r} is image by data.types, but holds {values.type}",
            hint="an image is a file's bytes, or its path from the table's folder",
        )
    return images.survey((each.as_py() for each in values), data.image)


def _not_words(name: str, values: pa.ChunkedArray) -> str:
    """Say why text is no feature: words that no other row has would only tell which row it is."""
    if not is_text(values.type):
        return "; text is written as strings"
    return f", like an id: its words do not come again; data.types: {{{name}: text}} learns from it"


def _roles(name: str, data: DataConfig, by: str | None) -> list[Role]:
    roles: dict[Role, tuple[str | None, ...]] = {
        "drop": data.drop,
        "key": data.key,
        "group": (data.group,),
        "time": (data.time,),
        "split": (by,),
    }
    return [role for role, names in roles.items() if name in names] or ["feature"]


def _guess_role(column: Column, values: Any, *, only_moment: bool) -> tuple[Role, str]:
    if column.role == "target" or pa.types.is_nested(values.type):
        return column.role, column.reason
    known = values.drop_null()
    distinct = 0 if pa.types.is_null(values.type) else pc.count_distinct(known).as_py()
    rows = len(values)
    if distinct == rows > 1 and KEY_NAME.search(column.name):
        return "key", "every value is different, and its name says id"
    if column.role == "feature" and distinct <= 1 < rows:
        return "drop", "it has one value" if distinct else "it has no values"
    if only_moment and column.role == "feature":
        return "time", "the only timestamp"
    return column.role, column.reason

"""What can be wrong with the rows as a whole: found after the first pass, before anything is learned or written."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from raymle.config import SplitConfig
from raymle.data.guess import FEW_VALUES
from raymle.data.hashes import Hashes
from raymle.data.infer import GUESSED
from raymle.data.schema import Contract
from raymle.data.split import SIDES, Sides
from raymle.errors import DataError
from raymle.records import Schema


def contract(schema: Schema, parts: Sequence[Contract], positive: str | None) -> Schema:
    """Return the schema with its classes, after what every block counted has been put together."""
    whole = Contract(schema)
    for part in parts:
        whole.merge(part)
    found = whole.finish()
    for name in schema.named("time"):
        if whole.nulls[name]:
            raise DataError(
                f"time column {name!r} is missing in {whole.nulls[name]:,} of {whole.rows:,} rows",
                hint="leave those rows out of the source, or do without data.time",
            )
    target = next(column for column in found.columns if column.role == "target")
    if target.reason.startswith(GUESSED) and len(found.classes) > FEW_VALUES:
        raise DataError(
            f"target {target.name!r} has {len(found.classes):,} different numbers, few of them in its first rows",
            hint="say what it is: data.task: regression, or classification",
        )
    named = _with_positive(found, positive)
    return _with_anomalies(named, whole.targets, positive) if found.anomaly else named


def _with_positive(schema: Schema, positive: str | None) -> Schema:
    """Name the positive class of two: the spec's, or the last in order."""
    if positive is not None and schema.task == "regression":
        raise DataError(
            f"evaluate.positive {positive!r} is a class, but target {schema.target!r} is a number",
            hint="leave it out, or set data.task: classification",
        )
    if positive is not None and positive not in schema.classes:
        raise DataError(
            f"evaluate.positive {positive!r} is not a class of {schema.target!r}",
            hint=f"the classes are {', '.join(schema.classes[:10])}",
        )
    chosen = positive or (schema.classes[-1] if len(schema.classes) == 2 else None)
    return schema.model_copy(update={"positive": chosen})


def _with_anomalies(schema: Schema, counts: Mapping[str, int], positive: str | None) -> Schema:
    """Put the class of what is usual first: anomalies are the spec's positive class, or the rarer one."""
    if len(schema.classes) != 2:
        named = ", ".join(repr(name) for name in schema.classes[:5])
        raise DataError(
            f"data.task is anomaly, and target {schema.target!r} has {len(schema.classes)} values: {named}",
            hint="it says of each row whether it is an anomaly; for more classes data.task: classification",
        )
    odd = positive or min(schema.classes, key=lambda name: counts[name])
    usual = next(name for name in schema.classes if name != odd)
    return schema.model_copy(update={"classes": (usual, odd), "positive": odd})


def method(config: SplitConfig, schema: Schema) -> None:
    """Refuse a split that the target or the roles do not allow."""
    if config.method == "stratified" and not schema.classes:
        raise DataError(
            f"split.method stratified needs classes, but target {schema.target!r} is a number",
            hint="use hash, group, time or column",
        )


def scattered_groups(config: SplitConfig, schema: Schema) -> tuple[str, ...]:
    """Warn of a group that the split does not keep together: the model would be judged on whom it knows."""
    names = schema.named("group")
    if not names or schema.series or config.method in {"group", "column"} or names == schema.named("key"):
        return ()
    return (f"split.method {config.method} puts one {names[0]} on several sides; split.method=group keeps it together",)


def classes(found: Sides, codes: NDArray[np.int64], config: SplitConfig, names: Sequence[str]) -> None:
    """Refuse a class that is not on every side: identical rows stay together, and it may have few others."""
    counts = np.bincount(codes * 3 + found, minlength=3 * len(names)).reshape(-1, 3)
    short = (counts[:, : 3 if config.fractions.test else 2] == 0).any(axis=1)
    if short.any():
        raise DataError(
            f"class {names[int(short.argmax())]!r} cannot be in every split: identical rows stay together, "
            "and too few of its rows are different",
            hint="name data.key if they are different things, or leave the class out",
        )


def absent_classes(schema: Schema, counts: Mapping[str | None, int]) -> tuple[str, ...]:
    """Warn of classes that no train row has."""
    needed = schema.classes[:1] if schema.anomaly else schema.classes  # nothing is learned from anomalies
    absent = [name for name in needed if not counts.get(name)]
    named = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
    return (f"no train row is of class {named}; split.method stratified keeps every class",) if absent else ()


def lone_classes(schema: Schema, parts: Sequence[Contract]) -> tuple[str, ...]:
    """Warn of classes with too few rows to be on every side."""
    counts = sum((part.targets for part in parts), Counter[str]())
    lone = [f"{name!r} ({counts[name]})" for name in schema.classes if counts[name] < len(SIDES)]
    named = ", ".join(lone[:5]) + (", ..." if len(lone) > 5 else "")
    return (f"too few rows to be both learned and judged: class {named}",) if lone else ()


def duplicates(schema: Schema, identity: Hashes, content: Hashes) -> tuple[str, ...]:
    """Refuse a key that names two rows; only count rows that are the same in everything."""
    keys = schema.named("key")
    twice = _repeats(identity) if keys else 0
    if twice:
        raise DataError(
            f"key {', '.join(keys)} does not name a row: {twice:,} of {len(identity):,} rows repeat one",
            hint="add a column to data.key, or leave the repeated rows out",
        )
    same = _repeats(content)
    return (f"{same:,} of {len(content):,} rows repeat another; they stay on one side",) if same else ()


def _repeats(hashes: Hashes) -> int:
    ordered = np.sort(hashes)
    return int((ordered[1:] == ordered[:-1]).sum())


def sides(found: Sides, config: SplitConfig, drawn: Hashes) -> None:
    """Refuse a split that leaves a side empty; ``drawn`` is what decides about each row where nothing else does."""
    counts = np.bincount(found, minlength=3)
    for place, name in enumerate(SIDES):
        asked = getattr(config.fractions, name) > 0 if config.method != "column" else place < 2
        if asked and not counts[place]:
            told, hint = _why_empty(config, len(found), len(np.unique(drawn)))
            raise DataError(f"split method {config.method} leaves no {name} rows of {len(found):,}{told}", hint=hint)


def _why_empty(config: SplitConfig, rows: int, different: int) -> tuple[str, str]:
    """Say what goes together, where that is most of the rows, and what to do."""
    if config.method == "group":
        return f" of {different:,} groups", "use more groups, or other fractions"
    if config.method in {"hash", "stratified"} and different < rows / 2:
        told = f"; equal rows stay on one side, and without repeats there are {different:,}"
        return told, "use more rows, or name data.key if equal rows are different things"
    return "", "use more rows, other fractions, or split.method=stratified"

"""How the target is distributed on each side that may be looked at."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raymle.data.summary import bins, columns
from raymle.records import Schema

MOST_CLASSES = 100


def balance(schema: Schema, sides: dict[str, pa.Table], *, masked: bool) -> dict[str, Any]:
    """Return rows and share of every class by side and the smallest class, or the number's statistics by side.

    Args:
        schema: What each column is.
        sides: Sampled rows by side.
        masked: Whether the target looks private: its classes are then counted, not named.
    """
    found = {name: side[schema.target] for name, side in sides.items()}
    if schema.task == "regression":
        told = {name: columns.number(values) for name, values in found.items()}
        keep = columns.NO_VALUES if masked else None
        return {"task": schema.task, "sides": {
            name: {fact: each[fact] for fact in each if keep is None or fact in keep} for name, each in told.items()
        }}  # fmt: skip
    counts = {name: _counts(values) for name, values in found.items()}
    totals = {name: max(1, sum(each.values())) for name, each in counts.items()}
    whole = {name: sum(each.get(name, 0) for each in counts.values()) for name in set().union(*counts.values())}
    ordered = sorted(whole, key=lambda name: (-whole[name], name))
    names = {name: f"class {place + 1}" if masked else name for place, name in enumerate(ordered)}
    return {
        "task": schema.task,
        "classes": [
            {"class": names[name], **{
                side: {"rows": each.get(name, 0), "share": round(each.get(name, 0) / totals[side], 6)}
                for side, each in counts.items()
            }} for name in ordered[:MOST_CLASSES]
        ],
        "more_classes": max(0, len(ordered) - MOST_CLASSES),
        "smallest": {
            "class": names[ordered[-1]], "rows": whole[ordered[-1]],
            "share": round(whole[ordered[-1]] / sum(whole.values()), 6),
        } if ordered else None,
    }  # fmt: skip


def _counts(values: pa.ChunkedArray) -> dict[str, int]:
    return {each["values"]: each["counts"] for each in pc.value_counts(bins.words(values).drop_null()).to_pylist()}

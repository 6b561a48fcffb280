"""What is told of one column: a function for each type, from a sample of its values."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raymle.data.summary import bins, private
from raymle.records import Column

Facts = dict[str, Any]
MOST_VALUES = 10
RARE = 0.01
TEXTS, EXAMPLES, LONGEST = 2000, 3, 80
NO_VALUES = {"missing", "distinct", "common", "zeros", "infinite", "length", "empty"}
"""What may be told of a column that looks private: counts and shares, never a value."""
FIGURES = (
    (r"[\d.]+% of its values", "most of its values"),
    (r"[\d,]+ different values in [\d,]+ rows", "nearly all its values are different"),
    (r"the target has [\d,]+ different numbers", "guessed from the target's numbers"),
    (r"[\d,]+ different values", "its values repeat"),
)
"""The reasons for a type count the source's first rows, sealed ones among them: their figures are not shown."""


def describe(column: Column, values: pa.ChunkedArray | None) -> Facts:
    """Return what is known of a column; one that the sample lacks (it is dropped) has only its type and role."""
    looks = private.look(column, values)
    facts: Facts = {
        "column": column.name, "type": column.type, "role": column.role, "reason": _reason(column.reason),
        "private": looks is not None, "evidence": looks,
    }  # fmt: skip
    if values is None:
        return facts
    facts["missing"] = _share(values.null_count, len(values))
    told = DESCRIBE.get(column.type, nothing)(values)
    return facts | (told if looks is None else {name: told[name] for name in told if name in NO_VALUES})


def nothing(_: pa.ChunkedArray) -> Facts:
    """Tell nothing of a type that has no function here."""
    return {}


def number(values: pa.ChunkedArray) -> Facts:
    """Return limits, mean, deviation (of the rows, not of a population), quartiles, outliers and a histogram."""
    known = np.sort(values.drop_null().to_numpy())
    finite = known[np.isfinite(known)]
    if not len(finite):
        return {"distinct": 0, "common": 0.0, "infinite": len(known)}
    starts = np.flatnonzero(np.concatenate([[True], finite[1:] != finite[:-1]]))
    low, quarter, middle, three, high = np.quantile(finite, (0, 0.25, 0.5, 0.75, 1))
    near, far = bins.fences(finite)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = finite.mean(), finite.std()
    return {
        "distinct": len(starts), "common": _share(np.diff(np.append(starts, len(finite))).max(), len(values)),
        "min": _finite(low), "quartiles": [_finite(quarter), _finite(three)], "median": _finite(middle),
        "mean": _finite(mean), "max": _finite(high), "std": _finite(std),
        "zeros": _share((finite == 0).sum(), len(values)), "infinite": len(known) - len(finite),
        "outliers": _share(((finite < near) | (finite > far)).sum(), len(values)),
        "histogram": bins.histogram(finite),
    }  # fmt: skip


def category(values: pa.ChunkedArray) -> Facts:
    """Return how many values there are, the commonest with their shares, and the share of rare ones."""
    counted = pc.value_counts(bins.words(values).drop_null())
    names, counts = counted.field("values"), counted.field("counts").to_numpy()
    if not len(counts):
        return {"distinct": 0, "common": 0.0, "most": [], "rare": 0.0}
    first = np.lexsort((np.arange(len(counts)), -counts))[:MOST_VALUES]
    return {
        "distinct": len(counts), "common": _share(counts.max(), len(values)),
        "most": [[_cut(names[int(each)].as_py()), _share(counts[each], len(values))]
                 for each in first if counts[each] > 1],
        "rare": _share(counts[counts < RARE * counts.sum()].sum(), len(values)),
    }  # fmt: skip


def text(values: pa.ChunkedArray) -> Facts:
    """Return lengths, empty texts, the commonest words, and examples in which addresses and numbers are masked."""
    known = bins.words(values).drop_null()
    lengths, counts = pc.utf8_length(known).to_numpy(), pc.value_counts(known).field("counts").to_numpy()
    if not len(known):
        return {"distinct": 0, "common": 0.0}
    few = known[:TEXTS].to_pylist()
    said = Counter(word for each in few for word in set(re.findall(r"[^\W\d_]{3,}", each.lower())))
    blank = pc.sum(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(known)), 0)).as_py()
    return {
        "distinct": len(counts), "common": _share(counts.max(), len(values)),
        "length": {"min": int(lengths.min()), "mean": round(float(lengths.mean()), 1), "max": int(lengths.max())},
        "empty": _share(blank, len(values)),
        "words": [[word, _share(count, len(few))] for word, count in said.most_common(MOST_VALUES) if count > 1],
        "examples": list(dict.fromkeys(_cut(private.masked(each)) for each in few if each.strip()))[:EXAMPLES],
    }  # fmt: skip


def timestamp(values: pa.ChunkedArray) -> Facts:
    """Return the first and last moment, the usual and the largest gap in seconds, and a histogram."""
    moments = np.sort(values.drop_null().cast(pa.int64()).to_numpy())
    if not len(moments):
        return {"distinct": 0, "common": 0.0}
    different, counts = np.unique(moments, return_counts=True)
    found = {
        "distinct": len(different), "common": _share(counts.max(), len(values)),
        "first": _moment(moments[0]), "last": _moment(moments[-1]),
    }  # fmt: skip
    if len(different) > 1:
        gaps = np.diff(different)
        widest = int(gaps.argmax())
        found["gaps"] = {
            "median_s": float(np.median(gaps) / 1e6), "largest_s": float(gaps[widest] / 1e6),
            "largest_from": _moment(different[widest]), "largest_to": _moment(different[widest + 1]),
        }  # fmt: skip
    picture = bins.histogram(moments.astype(np.float64))
    return found | {"histogram": picture | {"edges": [_moment(each) for each in picture["edges"]]}}


def sequence(values: pa.ChunkedArray) -> Facts:
    """Return how long the lists are, and what is told of all their values as numbers."""
    lengths = pc.min_max(pc.list_value_length(values)).as_py()
    flat = pc.list_flatten(values)
    told = number(pc.if_else(pc.is_nan(flat), pa.scalar(None, pa.float64()), flat))
    return {"shortest": lengths["min"], "longest": lengths["max"], **told}


DESCRIBE: dict[str, Callable[[pa.ChunkedArray], Facts]] = {
    "number": number,
    "boolean": category,
    "category": category,
    "text": text,
    "timestamp": timestamp,
    "sequence": sequence,
}
"""A new type of column says here what is told of it."""


def _reason(reason: str) -> str:
    for pattern, words in FIGURES:
        reason = re.sub(pattern, words, reason)
    return reason


def _share(part: Any, whole: int) -> float:
    return round(float(part) / max(1, whole), 6)


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST else f"{value[: LONGEST - 1]}…"


def _moment(microseconds: Any) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(microseconds))).isoformat()
    except OverflowError:
        return str(np.datetime64(int(microseconds), "us"))

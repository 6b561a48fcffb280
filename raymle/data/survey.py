"""What is told of images and texts: which cannot be read or are not there, and what was done to the others."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import final

import pyarrow as pa
import pyarrow.compute as pc

from raymle.config import SplitConfig
from raymle.data import image_files, images
from raymle.data.casts import plain
from raymle.data.source import Source, batches, named
from raymle.errors import DataError
from raymle.records import Column, Schema

SHOWN = 5
MOST_COUNTED = 1000
ROWS = 256


@final
@dataclass
class Survey:
    """Sizes of the images of some rows, how many are animated, and how many images and texts there are none of."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    animated: int = 0
    absent: Counter[str] = field(default_factory=Counter)
    """Rows without an image, or without a word, by column."""


def of(batch: pa.RecordBatch, schema: Schema) -> Survey:
    """Look at the headers of a batch's images, and for texts of blanks."""
    found = Survey()
    for column in schema.features:
        if column.type in {"image", "text"}:
            found.absent[column.name] += _absent(batch.column(column.name), column)
    for column in _columns(schema):
        for size, animated in images.notes(batch.column(column.name)):
            found.sizes[size] += 1
            found.animated += animated
    return found


def _absent(values: pa.Array, column: Column) -> int:
    if column.type == "image":
        return int(values.null_count)
    words = pc.fill_null(pc.utf8_trim_whitespace(plain(values).cast(pa.string())), "")
    return int(pc.sum(pc.equal(words, "")).as_py() or 0)


def _columns(schema: Schema) -> list[Column]:
    return [column for column in schema.features if column.type == "image"]


def told(schema: Schema, parts: Sequence[Survey]) -> tuple[str, ...]:
    """Say what was done to images that are not as the others."""
    whole = Survey()
    for part in parts:
        whole.sizes.update(part.sizes)
        whole.animated += part.animated
        whole.absent.update(part.absent)
    absent = [_missing(column, whole.absent[column.name]) for column in schema.features]
    return tuple(filter(None, (_resized(schema, whole.sizes), _animated(whole.animated), *absent)))


def _resized(schema: Schema, sizes: Counter[tuple[int, int]]) -> str:
    shapes = {column.shape[1:] for column in _columns(schema) if column.shape}
    others = {size: count for size, count in sizes.items() if {size} != shapes}
    if len(shapes) != 1 or not others:
        return ""
    lowest, highest = ("x".join(str(ends(size[place] for size in others)) for place in (0, 1)) for ends in (min, max))
    given = lowest if lowest == highest else f"{lowest} to {highest}"
    height, width = next(iter(shapes))
    count = sum(others.values())
    are = " is" if count == 1 else "s are"
    return f"{count:,} image{are} resized from {given} to {height}x{width} pixels; data.image.size says another size"


def _animated(count: int) -> str:
    if not count:
        return ""
    return f"{count:,} image{' is' if count == 1 else 's are'} animated, and only the first frame is used"


def _missing(column: Column, count: int) -> str:
    if not count:
        return ""
    rows = f"{count:,} row{'' if count == 1 else 's'}"
    if column.type == "image":
        return f"{rows} without an image in column {column.name!r}: it counts as black"
    return f"{rows} without a word in column {column.name!r}"


def unused_sides(config: SplitConfig, source: Source) -> tuple[str, ...]:
    """Warn of sub-folders that say who goes where, when the spec wants another split.

    Raises:
        DataError: the spec says nothing of a split: test rows would be learned from.
    """
    if config.method == "column" or image_files.SPLIT not in source.aside:
        return ()
    if "method" in config.model_fields_set:
        return (f"{source.name} has sub-folders train, validation or test; split.method: column would go by them",)
    raise DataError(
        f"{source.name} has sub-folders train, validation or test, and the spec does not say whether to go by them",
        hint="split: {method: column} goes by them, split: {method: hash} mixes them",
    )


def blame(source: Source, schema: Schema, transforms: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None) -> None:
    """Go over all images again and name those that cannot be read, with their files and rows.

    Raises:
        DataError: there are some.
    """
    if not _columns(schema):
        return
    found = _unreadable(source, schema, transforms)
    shown = list(islice(found, SHOWN))
    if not shown:
        return
    more = sum(1 for _ in islice(found, MOST_COUNTED))
    rest = f"; and {more:,}{' or' if more == MOST_COUNTED else ''} more" if more else ""
    raise DataError("; ".join(shown) + rest, hint="repair those images, or leave them out")


def _unreadable(
    source: Source, schema: Schema, transforms: Callable[[pa.RecordBatch], pa.RecordBatch] | None
) -> Iterator[str]:
    row = 0
    for raw, names in zip(batches(source, rows=ROWS), named(source, rows=ROWS), strict=True):
        made = transforms(raw) if transforms else raw
        for column in _columns(schema):
            for place, value in enumerate(made.column(column.name)):
                why = images.reason(value.as_py()) if value.is_valid else ""
                if why:
                    yield f"{_where(source, names, column.name, place, row)} {why}"
        row += raw.num_rows


def _where(source: Source, names: pa.RecordBatch, column: str, place: int, row: int) -> str:
    """Name an image: its file, and its row where a table names it."""
    if column in source.images:
        file = names.column(column)[place].as_py()
        return str(file) if source.aside else f"{file}, row {row + place + 1} of {source.name},"
    return f"the image in column {column!r}, row {row + place + 1} of {source.name},"

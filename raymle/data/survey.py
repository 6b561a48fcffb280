"""What is told of the images of a data set: which cannot be read, and what was done to the others."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import final

import pyarrow as pa

from raymle.config import SplitConfig
from raymle.data import image_files, images
from raymle.data.source import Source, batches, named
from raymle.errors import DataError
from raymle.records import Column, Schema

SHOWN = 5
MOST_COUNTED = 1000
ROWS = 256


@final
@dataclass
class Survey:
    """Sizes of the images of some rows, how many are animated, and the rows of each class."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    animated: int = 0
    classes: Counter[str | None] = field(default_factory=Counter)


def of(batch: pa.RecordBatch, schema: Schema) -> Survey:
    """Look at the headers of a batch's images."""
    found = Survey()
    columns = _columns(schema)
    for column in columns:
        for size, animated in images.notes(batch.column(column.name)):
            found.sizes[size] += 1
            found.animated += animated
    if columns and schema.task == "classification":
        found.classes.update(map(str, batch.column(schema.target).to_pylist()))
    return found


def _columns(schema: Schema) -> list[Column]:
    return [column for column in schema.features if column.type == "image"]


def told(schema: Schema, parts: Sequence[Survey]) -> tuple[str, ...]:
    """Say what was done to images that are not as the others."""
    whole = Survey()
    for part in parts:
        whole.sizes.update(part.sizes)
        whole.animated += part.animated
        whole.classes.update(part.classes)
    return tuple(filter(None, (_resized(schema, whole.sizes), _animated(whole.animated), _single(whole.classes))))


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


def _single(classes: Counter[str | None]) -> str:
    single = sorted(str(name) for name, count in classes.items() if count == 1)
    if not single:
        return ""
    return f"class {', '.join(single[:SHOWN])} has one image, which can only be learned from or judged by"


def unused_sides(config: SplitConfig, source: Source) -> tuple[str, ...]:
    """Warn of sub-folders that say who goes where, when nobody asked them."""
    if config.method == "column" or image_files.SPLIT not in source.aside:
        return ()
    return (f"{source.name} has sub-folders train, validation or test; split.method: column would go by them",)


def blame(source: Source, schema: Schema, transforms: Callable[[pa.RecordBatch], pa.RecordBatch]) -> None:
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
    source: Source, schema: Schema, transforms: Callable[[pa.RecordBatch], pa.RecordBatch]
) -> Iterator[str]:
    row = 0
    for raw, names in zip(batches(source, rows=ROWS), named(source, rows=ROWS), strict=True):
        made = transforms(raw)
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

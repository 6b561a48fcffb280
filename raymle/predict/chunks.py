"""A source cut into chunks: each is predicted, written and, after a kill, done again as one."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from raymle.data import formats
from raymle.data.formats import File
from raymle.data.places import explained, filesystem, path_of
from raymle.data.source import Source, check_columns
from raymle.records import Record

ROWS = 1 << 19
"""A chunk has no more rows than this, unless one row group has."""
IMAGE_ROWS = 1 << 13
"""The same where each row is an image file."""
AT_ONCE = 16
"""Files looked into at one time: in a bucket each look takes long, and waits for nothing here."""


class Chunk(Record):
    """Consecutive row groups of a parquet file, rows of a table, or any other file as a whole."""

    number: int
    file: str = ""
    """Path or URI; empty for a table."""
    start: int = 0
    """The first row group, or the table's first row."""
    stop: int | None = None
    """One past the last; None for a whole file."""
    first: int = 0
    """Rows of the file before the chunk."""
    rows: int | None = None
    """How many there are; None when only reading the file tells."""


def cut(groups: Sequence[int], most: int = ROWS) -> Iterator[tuple[int, int]]:
    """Yield where chunks start and stop among row groups of so many rows each."""
    start, rows = 0, 0
    for place, more in enumerate(groups):
        if rows and rows + more > most:
            yield start, place
            start, rows = place, 0
        rows += more
    if rows:
        yield start, len(groups)


def chunks(source: Source) -> tuple[Chunk, ...]:
    """Cut a source whose every row is then in exactly one chunk; an empty one has one chunk without rows.

    Raises:
        DataError: a file cannot be read, or has other columns than the first one.
    """
    found = list(_of_table(source) if source.table is not None else _of_files(source))
    if not found and source.files:
        found = [Chunk(number=0, file=source.files[0], stop=0, rows=0)]
    return tuple(each.model_copy(update={"number": number}) for number, each in enumerate(found))


def total(found: Iterable[Chunk]) -> int | None:
    """Return how many rows there are; None when only reading tells."""
    rows = [each.rows for each in found]
    return None if None in rows else sum(each or 0 for each in rows)


def _of_table(source: Source) -> Iterator[Chunk]:
    rows = source.table.num_rows if source.table is not None else 0
    most = IMAGE_ROWS if source.images else ROWS
    for start in range(0, max(1, rows), most):
        stop = min(rows, start + most)
        yield Chunk(number=0, start=start, stop=stop, first=start, rows=stop - start)


def _of_files(source: Source) -> Iterator[Chunk]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for uri, groups in zip(
            source.files, pool.map(lambda uri: _looked_into(source, uri), source.files), strict=True
        ):
            if groups is None:
                yield Chunk(number=0, file=uri)
                continue
            for start, stop in cut(groups):
                rows = sum(groups[start:stop])
                yield Chunk(number=0, file=uri, start=start, stop=stop, first=sum(groups[:start]), rows=rows)


def _looked_into(source: Source, uri: str) -> list[int] | None:
    """Check a file's columns, and return the rows of its row groups; None when it has none."""
    system = filesystem(uri)
    file = File(system, path_of(uri), source.format)  # type: ignore[arg-type]
    with explained(uri, system):
        names, groups = formats.footer(file) if source.format == "parquet" else (formats.names(file), None)
    check_columns(names, source, uri)
    return groups

"""The rows of chunks as batches, with where each stands in its file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.data import formats
from raymle.data.formats import File
from raymle.data.image_files import loaded, stored
from raymle.data.places import explained, filesystem, path_of
from raymle.data.salvage import salvaged
from raymle.errors import DataError
from raymle.predict.chunks import Chunk
from raymle.predict.job import Job


@dataclass(frozen=True)
class Batch:
    """Some rows of a chunk; ``lost`` are those that are no rows of the source's types, which stand between them."""

    chunk: Chunk
    given: pa.RecordBatch
    """As the source stores them: of an image file its name."""
    rows: pa.RecordBatch
    """With the files in the place of their names."""
    numbers: Sequence[int] | NDArray[np.int64]
    """Each row's number in its file, from 1."""
    lost: pa.Table | None = None
    """Those rows: which, why, and the text of what was read."""


def batches(job: Job, chunks: Sequence[Chunk]) -> Iterator[Batch]:
    """Yield the batches of one chunk after another, at least one of each."""
    for chunk in chunks:
        none = True
        for batch in _of(job, chunk):
            none = False
            yield batch
        if none:
            empty = pa.schema([job.source.columns.field(name) for name in job.names]).empty_table()
            rows = pa.RecordBatch.from_pylist([], schema=empty.schema)
            yield Batch(chunk, rows, rows, range(0))


def _of(job: Job, chunk: Chunk) -> Iterator[Batch]:
    row = chunk.first + 1
    try:
        for rows in _read(job, chunk):
            yield Batch(chunk, rows, loaded(rows, job.source), range(row, row + rows.num_rows))
            row += rows.num_rows
    except DataError:
        if job.is_typed:
            raise
        yield from _rest(job, chunk, row)


def _read(job: Job, chunk: Chunk) -> Iterator[pa.RecordBatch]:
    if job.source.table is not None:
        rows = job.source.table.select(job.names).slice(chunk.start, (chunk.stop or 0) - chunk.start)
        yield from rows.to_batches(max_chunksize=job.batch_rows)
        return
    groups = None if chunk.stop is None else range(chunk.start, chunk.stop)
    file = _file(job, chunk)
    with explained(chunk.file, file.system):
        schema = stored(job.source)
        yield from formats.read(file, schema=schema, names=job.names, rows=job.batch_rows, groups=groups)


def _file(job: Job, chunk: Chunk) -> File:
    return File(filesystem(chunk.file), path_of(chunk.file), job.source.format)  # type: ignore[arg-type]


def _rest(job: Job, chunk: Chunk, row: int) -> Iterator[Batch]:
    """Read a text file that cannot be read as a whole once more, row by row, from that row on."""
    columns = pa.schema([stored(job.source).field(name) for name in job.names])
    file = _file(job, chunk)
    with explained(chunk.file, file.system):
        for found in salvaged(file, columns, rows=job.batch_rows):
            new = found.numbers >= row
            lost = found.lost.filter(pc.greater_equal(found.lost["quarantine_row"], row))
            rows = found.rows.filter(pa.array(new))
            yield Batch(chunk, rows, loaded(rows, job.source), found.numbers[new], lost)

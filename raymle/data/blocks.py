"""The rows of a source as blocks, and one function over each: in this process, or by Ray Data."""

import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, TypeVar, final

import pyarrow as pa

from raymle.data import image_files
from raymle.data.source import Source, batches, named, row_bytes
from raymle.errors import RaymleError
from raymle.records import Schema

T = TypeVar("T")
KEEP_BYTES = 1 << 30
ROWS = 131_072
BLOCK_BYTES = 32 << 20
"""A block of a wide table has fewer rows: a few are in memory at once, each as raw, conformed and encoded rows."""


@final
@dataclass
class Blocks:
    """Source rows that can be gone over several times; a source under 1 GiB is decoded once."""

    source: Source
    on_ray: bool = False
    pixels: int = 0
    """Of the images of a row, once they are decoded."""
    threads: int = field(default_factory=pa.cpu_count)
    _kept: list[pa.RecordBatch] = field(default_factory=list)

    def each(self, function: Callable[[pa.RecordBatch, Any], T], known: Sequence[Any] | None = None) -> Iterator[T]:
        """Yield the function's result for every block, in the source's order.

        Args:
            function: Takes a block, and what is known of it already or None.
            known: What an earlier pass returned, block by block.
        """
        if self.on_ray:
            return _on_ray(self.source, function)
        whole = (batch for batch in self._batches() if batch.num_rows)
        pairs = ((batch, known[place] if known else None) for place, batch in enumerate(whole))
        return _in_threads(function, pairs, self.threads)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if self._kept:
            yield from self._kept
            return
        keep = self.source.bytes < KEEP_BYTES
        kept: list[pa.RecordBatch] = []
        for batch in batches(self.source, rows=rows_of(self.source, self.pixels)):
            if keep:
                kept.append(batch)
            yield batch
        self._kept = kept


def rows_of(source: Source, pixels: int = 0) -> int:
    """Return the most rows of one block."""
    return max(1, min(ROWS, BLOCK_BYTES // (row_bytes(source.columns) + source.image_bytes + pixels)))


def pixels_of(schema: Schema) -> int:
    """Return how many pixels the images of a row are brought to."""
    return sum(prod(column.shape) for column in schema.features if column.shape)


def is_small(source: Source, schema: Schema) -> bool:
    """Whether a source's conformed rows may stay in memory: files of images are smaller than their pixels."""
    rows = source.bytes // max(1, row_bytes(source.columns) + source.image_bytes)
    return max(source.bytes, rows * pixels_of(schema)) < KEEP_BYTES


def read(source: Source) -> pa.Table:
    """Return all rows of a source as one table."""
    found = list(batches(source))
    return pa.Table.from_batches(found) if found else source.columns.empty_table()


def _in_threads(
    function: Callable[[pa.RecordBatch, Any], T], pairs: Iterator[tuple[pa.RecordBatch, Any]], threads: int
) -> Iterator[T]:
    """Yield the results in order, with only a few blocks under way, so that memory stays bounded."""
    if threads == 1:
        yield from (function(*pair) for pair in pairs)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[T]] = deque()
        for pair in pairs:
            waiting.append(pool.submit(function, *pair))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _on_ray(source: Source, function: Callable[[pa.RecordBatch, Any], T]) -> Iterator[T]:
    """Let Ray Data read and call; a result travels as one row of bytes that only this driver opens."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True

    files = replace(source, table=None)

    def call(table: pa.Table) -> pa.Table:
        try:
            results: list[Any] = [
                function(image_files.loaded(batch, files), None)
                for batch in table.combine_chunks().to_batches()
                if batch.num_rows
            ]
        except RaymleError as error:
            results = [error]
        return pa.table({"result": pa.array([pickle.dumps(result) for result in results], pa.binary())})

    done = _dataset(source).map_batches(call, batch_format="pyarrow", batch_size=rows_of(source))
    for batch in done.iter_batches(batch_format="pyarrow", batch_size=None):
        for value in batch["result"]:
            result = pickle.loads(value.as_py())  # noqa: S301  our own workers wrote it
            if isinstance(result, RaymleError):
                raise result
            yield result


def _dataset(source: Source) -> Any:
    import ray.data

    most = rows_of(source)
    if source.table is not None:
        return ray.data.from_arrow([source.table.slice(start, most) for start in range(0, source.table.num_rows, most)])
    if source.format == "parquet":
        return ray.data.read_parquet(list(source.files))
    blocks = (pa.Table.from_batches([batch]) for batch in named(source, rows=most))
    kept: list[Any] = [ray.put(block) for block in blocks]  # by Ray: one at a time is in this process
    return ray.data.from_arrow_refs(kept)

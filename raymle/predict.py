"""Predict a whole source in a stream: key columns, prediction and probabilities into one parquet file."""

import logging
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from raymle.data import words_of
from raymle.data.casts import plain
from raymle.data.source import Source, batches, resolve
from raymle.errors import RaymleError, SetupError, UsageError
from raymle.model import Bundle, load, read_contents
from raymle.records import Predicted

if TYPE_CHECKING:
    import pandas as pd


def predict(
    bundle: Path,
    source: "str | pa.Table | pd.DataFrame",
    output: str | Path,
    *,
    folder: str = ".",
    on_ray: bool = False,
) -> Predicted:
    """Predict every row of a source, in order, into a parquet file that appears whole or not at all.

    Args:
        bundle: The model's folder; on Ray every node must see it.
        source: Anything that ``data.source`` takes; the target may be absent.
        output: A local path that ends in ``.parquet``.
        folder: Where a relative source starts.
        on_ray: Spread the source's files over the Ray that is connected.
    """
    started = time.monotonic()
    contents = read_contents(bundle)
    found = resolve(source, folder=folder, words=words_of(contents.data_schema))
    absent = [name for name in contents.data_schema.named("key") if name not in found.columns.names]
    warnings = [f"key {name} is not in {found.name}, nor in the output" for name in absent if not contents.transforms]
    target = _target(output, found)
    spread = on_ray and found.table is None
    rows = _write(_on_ray(bundle, found) if spread else _inline(load(bundle), found), target)
    seconds = round(time.monotonic() - started, 3)
    return Predicted(rows=rows, output=str(target), seconds=seconds, warnings=tuple(warnings))


def _target(output: str | Path, source: Source) -> Path:
    if "://" in str(output) or Path(output).suffix != ".parquet":
        raise UsageError(f"the output {str(output)!r} is not a local .parquet file", hint="for instance out.parquet")
    target = Path(output).expanduser().resolve()
    if str(target) in source.files:
        raise UsageError(f"the output {target.name} is the source itself", hint="choose another name")
    return target


def _write(tables: Iterable[pa.Table], target: Path) -> int:
    """Write the tables one by one beside the target, then move the file into place; return its rows."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
            draft = Path(scratch) / target.name
            rows = _write_draft(tables, draft)
            draft.replace(target)
    except OSError as error:
        raise SetupError(f"cannot write {target}: {error.strerror or error}") from error
    return rows


def _write_draft(tables: Iterable[pa.Table], draft: Path) -> int:
    rows = 0
    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for table in tables:
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(draft, table.schema))
            writer.write_table(table)
            rows += table.num_rows
    return rows


def _inline(bundle: Bundle, source: Source) -> Iterator[pa.Table]:
    nothing = True
    for batch in batches(source, _wanted(bundle, source)):
        nothing = False
        yield _predict_batch(bundle, batch, source)
    if nothing:
        yield _predict_batch(bundle, pa.RecordBatch.from_pylist([], schema=source.columns), source)


def _wanted(bundle: Bundle, source: Source) -> list[str]:
    """Name the columns that are read: what else there is need not be whole, unless somebody looks at it."""
    present = source.columns.names
    if bundle.contents.transforms or any(each.name not in present for each in bundle.schema.features):
        return list(present)
    return [each.name for each in bundle.schema.columns if each.role in {"feature", "key"} and each.name in present]


def _predict_batch(bundle: Bundle, batch: pa.RecordBatch, source: Source) -> pa.Table:
    """Return key columns, prediction and probabilities of one batch."""
    known = bundle.conformed(batch)
    predicted = bundle.predict_table(known)
    names = [name for name in bundle.schema.named("key") if name in known.schema.names]
    if clash := set(names) & set(predicted.column_names):
        raise UsageError(
            f"key {clash.pop()!r} has the name of a column that is predicted", hint="rename it in the data"
        )
    keys = {name: _key(name, batch, source, known) for name in names}
    return pa.table(keys | dict(zip(predicted.column_names, predicted.columns, strict=True)))


def _key(name: str, batch: pa.RecordBatch, source: Source, known: pa.RecordBatch) -> pa.Array:
    """Return a key in the type it is stored in, to be joined by; text formats have none, so theirs is text."""
    if source.format in {"parquet", "table"} and name in source.columns.names:
        return batch[name].cast(source.columns.field(name).type)
    return plain(known[name])


def _on_ray(bundle: Path, source: Source) -> Iterator[pa.Table]:
    """Predict file by file in actors that each load the bundle once; the files' order is kept."""
    import ray

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # our sentence is enough
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    with ray.data.DataContext.current(context):
        cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
        size = max(1, min(len(source.files), cpus))
        predicted = ray.data.from_items(
            [{"file": file} for file in source.files], override_num_blocks=len(source.files)
        ).map_batches(
            _Worker,
            fn_constructor_args=(str(bundle), source),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=size),
        )
        try:
            yield from predicted.iter_batches(batch_size=None, batch_format="pyarrow")
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, RaymleError):
                raise
            sentence = str(error.cause).splitlines()[0]  # Ray Data adds advice of its own
            raise type(error.cause)(sentence, hint=error.cause.hint) from None


class _Worker:
    """An actor of Ray Data: a file's name in, its predictions out."""

    def __init__(self, bundle: str, source: Source) -> None:
        self._bundle = load(Path(bundle))
        self._source = source

    def __call__(self, files: pa.Table) -> Iterator[pa.Table]:
        for file in files["file"].to_pylist():
            yield from _inline(self._bundle, replace(self._source, files=(file,)))

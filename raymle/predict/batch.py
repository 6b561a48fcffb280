"""From a batch of rows to its predictions, and the rows that have none with the reason."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raymle.data.images import is_bytes
from raymle.data.salvage import ABOUT
from raymle.data.source import TABLE
from raymle.model import Bundle
from raymle.predict import contract
from raymle.predict.chunks import Chunk
from raymle.predict.contract import Faults
from raymle.predict.job import FILE, Job
from raymle.predict.reading import Batch

ROWS_AT_ONCE = 2048
"""A network's inputs and layers of so many rows stay in the processor's cache."""


class Outcome(NamedTuple):
    """The rows with a prediction and those without; together they are all of the batch."""

    chunk: Chunk
    good: pa.Table
    bad: pa.Table


def predict(job: Job, bundle: Bundle, batch: Batch) -> Outcome:
    """Predict a batch."""
    kept, faults = contract.conformed(job, bundle, batch.rows)
    if kept is None:
        return Outcome(batch.chunk, job.columns.empty_table(), _bad(job, batch, faults))
    answers = _answers(bundle, kept.known)
    which = kept.keys.values() or _places(job, batch, kept.places)
    table = pa.table([*which, *_named(answers, bundle)], schema=job.columns)
    if late := contract.infinite(kept.known, bundle) | contract.without_answer(answers):
        table = table.filter(pa.array(~np.isin(np.arange(table.num_rows), list(late))))
        faults |= {int(kept.places[row]): fault for row, fault in late.items()}
    return Outcome(batch.chunk, table, _bad(job, batch, faults))


def _places(job: Job, batch: Batch, places: Sequence[int] | NDArray[np.int64]) -> list[pa.Array]:
    """Say where rows without a key are: the file, when there are several, and the number in it."""
    numbers = pa.array(np.asarray(batch.numbers, np.int64)[np.asarray(places)])
    if FILE not in job.columns.names:
        return [numbers]
    file = pa.DictionaryArray.from_arrays(np.zeros(len(numbers), np.int32), pa.array([batch.chunk.file]))
    return [file, numbers]


def _answers(bundle: Bundle, known: pa.RecordBatch) -> NDArray[np.float64]:
    """Return probabilities ``[n, classes]`` or numbers ``[n]``."""
    inputs = bundle.transform.apply(known)
    step = known.num_rows if bundle.contents.is_trees else ROWS_AT_ONCE
    with np.errstate(all="ignore"):  # what is not finite is put aside
        parts = [
            bundle.predict_encoded(inputs.rows(slice(start, start + step))) for start in range(0, known.num_rows, step)
        ]
    return np.concatenate(parts)


def _named(answers: NDArray[np.float64], bundle: Bundle) -> list[pa.Array]:
    """Return the column of predictions, and for classes one of probabilities for each."""
    classes = bundle.schema.classes
    if not classes:
        return [pa.array(answers)]
    best = answers.argmax(axis=1).astype(np.int32)
    prediction = pa.DictionaryArray.from_arrays(best, pa.array(classes, pa.string()))
    return [prediction, *(pa.array(np.ascontiguousarray(answers[:, place])) for place in range(len(classes)))]


def quarantined(job: Job) -> pa.Schema:
    """Return the columns of rows without a prediction: where each was, why, and what was read as text."""
    texts = pa.schema([(name, pa.string()) for name in job.names])
    return pa.schema([pa.field("quarantine_file", pa.string()), *ABOUT, *texts])


def _bad(job: Job, batch: Batch, faults: Faults) -> pa.Table:
    schema = quarantined(job)
    found = [] if batch.lost is None else [batch.lost]
    if faults:
        rows = sorted(faults)
        about = [
            np.asarray(batch.numbers)[rows],
            [faults[row].column for row in rows],
            [faults[row].reason for row in rows],
        ]
        texts = [_as_text(column.take(pa.array(rows))) for column in batch.given.columns]
        found.append(pa.table([*about, *texts], names=schema.names[1:]))
    if not found:
        return schema.empty_table()
    table = pa.concat_tables([each.cast(pa.schema(list(schema)[1:])) for each in found])
    table = table.sort_by("quarantine_row")
    file = pa.array(
        [batch.chunk.file or (job.source.root if job.source.aside else TABLE)] * table.num_rows, pa.string()
    )
    return table.add_column(0, schema.field(0), file)


def _as_text(values: pa.Array) -> pa.Array:
    """Return any values as text; of bytes only how many."""
    if is_bytes(values.type):
        return pa.array([None if each is None else f"{len(each):,} bytes" for each in values.to_pylist()], pa.string())
    try:
        return values.cast(pa.string())
    except pa.ArrowException:
        return pa.array([None if each is None else str(each) for each in values.to_pylist()], pa.string())

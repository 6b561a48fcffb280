"""Which rows of a batch break the model's contract, and why; the others in canonical types."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.data.casts import every_failing, every_misfit, not_of_type, plain, sum_is_finite
from raymle.data.prepare import apply_all
from raymle.errors import DataError
from raymle.model import Bundle
from raymle.predict.job import Job

PROBES = 8
"""Rows that the user's own transforms are tried on one by one when they fail on all of them together."""


class Fault(NamedTuple):
    """Why a row has no prediction; no column where it is the row as a whole."""

    column: str | None
    reason: str


Faults = dict[int, Fault]
"""By the row's place in its batch."""


class Kept(NamedTuple):
    """The rows that fit: conformed, their keys as they are stored, and their places in the batch."""

    known: pa.RecordBatch
    keys: dict[str, pa.Array]
    places: Sequence[int] | NDArray[np.int64]


def conformed(job: Job, bundle: Bundle, batch: pa.RecordBatch) -> tuple[Kept | None, Faults]:
    """Bring a batch to the model's types; only when that fails is each row looked at. None: no row fits.

    Raises:
        DataError: it is not single rows that are wrong.
    """
    try:
        return _kept(job, bundle, batch, range(batch.num_rows)), {}
    except (DataError, pa.ArrowException):
        faults = _faults(job, bundle, batch)
        if not faults:
            raise
    places = np.setdiff1d(np.arange(batch.num_rows), list(faults))
    return _kept(job, bundle, batch.take(pa.array(places)), places), faults


def _kept(job: Job, bundle: Bundle, batch: pa.RecordBatch, places: Sequence[int] | NDArray[np.int64]) -> Kept | None:
    if not batch.num_rows:
        return None
    known = bundle.conformed(batch)
    return Kept(known, {field.name: _key(job, field, batch, known) for field in job.keys}, places)


def _key(job: Job, field: pa.Field, batch: pa.RecordBatch, known: pa.RecordBatch) -> pa.Array:
    """Return a key as it is stored, to be joined by; text formats have no types, so there it is the schema's."""
    stored = field.name in batch.schema.names and (job.is_typed or field.name not in known.schema.names)
    values = (batch if stored else known).column(field.name)
    return values if values.type == field.type else plain(values).cast(field.type)


def _faults(job: Job, bundle: Bundle, batch: pa.RecordBatch) -> Faults:
    failing = _failing_rows(bundle, batch)
    places = np.setdiff1d(np.arange(batch.num_rows), list(failing))
    raw = batch.take(pa.array(places)) if failing else batch
    found = _misfits(bundle, raw) | _keys_misfit(job, raw)
    return failing | {int(places[row]): fault for row, fault in found.items()}


def _misfits(bundle: Bundle, raw: pa.RecordBatch) -> Faults:
    """Find the values that are not of their column's type in the model's schema."""
    made = apply_all(raw, references=bundle.contents.transforms, folder=str(bundle.path / "code"))
    faults: Faults = {}
    for column in bundle.schema.columns:
        if column.role in {"feature", "key"} and column.name in made.schema.names:
            values = made.column(column.name)
            faults = _of_column(column.name, column.type, values, every_misfit(values, column)) | faults
    return faults


def _keys_misfit(job: Job, raw: pa.RecordBatch) -> Faults:
    """Find the keys that are not of the type that the first file stores them in."""
    faults: Faults = {}
    for field in job.keys:
        if job.is_typed and field.name in raw.schema.names:
            values = plain(raw.column(field.name))
            found = every_failing(values, partial(pa.Array.cast, target_type=field.type))
            faults = _of_column(field.name, str(field.type), values, found) | faults
    return faults


def _of_column(name: str, kind: str, values: pa.Array, found: NDArray[np.int64]) -> Faults:
    wrong = values.take(pa.array(found)).to_pylist()
    return {row: Fault(name, not_of_type(name, kind, value)) for row, value in zip(found.tolist(), wrong, strict=True)}


def _failing_rows(bundle: Bundle, batch: pa.RecordBatch) -> Faults:
    """Find the rows on which the user's own transforms fail.

    Raises:
        DataError: they fail on every row that is tried: the rows are not what is wrong.
    """
    if not (told := _refusal(bundle, batch)):
        return {}
    probes = np.linspace(0, batch.num_rows - 1, PROBES).astype(int)
    if all(_refusal(bundle, batch.slice(place, 1)) for place in probes):
        raise told
    return _halved(bundle, batch, 0)


def _halved(bundle: Bundle, rows: pa.RecordBatch, start: int) -> Faults:
    if not (told := _refusal(bundle, rows)):
        return {}
    if rows.num_rows == 1:
        return {start: Fault(None, str(told))}
    middle = rows.num_rows // 2
    return _halved(bundle, rows.slice(0, middle), start) | _halved(bundle, rows.slice(middle), start + middle)


def _refusal(bundle: Bundle, rows: pa.RecordBatch) -> DataError | None:
    try:
        apply_all(rows, references=bundle.contents.transforms, folder=str(bundle.path / "code"))
    except DataError as error:
        return error
    return None


def infinite(known: pa.RecordBatch, bundle: Bundle) -> Faults:
    """Find the rows that hold infinity, which training refuses too."""
    faults: Faults = {}
    for column in bundle.schema.features:
        values = known.column(column.name) if column.type == "number" else None
        if values is None or sum_is_finite(values):
            continue
        for row in np.flatnonzero(pc.fill_null(pc.is_inf(values), fill_value=False).to_numpy(zero_copy_only=False)):
            faults.setdefault(int(row), Fault(column.name, f"column {column.name!r} holds infinity"))
    return faults


def without_answer(answers: NDArray[np.float64]) -> Faults:
    """Find the rows for which the model has no finite answer."""
    finite = np.isfinite(answers.reshape(len(answers), -1)).all(axis=1)
    fault = Fault(None, "the model has no finite answer")
    return {} if finite.all() else dict.fromkeys(map(int, np.flatnonzero(~finite)), fault)

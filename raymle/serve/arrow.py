"""Arrow over the wire: an IPC stream to a checked table, predictions to a stream.

A stream from outside is looked through before it is opened: no extension types (some unpickle), no compressed buffers
(a few bytes may stand for gigabytes), no nested types; then every offset and index is checked before it is used.
"""

import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raymle.data.casts import ARROW, canonical, is_list, misfits
from raymle.data.sequences import MOST_STEPS
from raymle.errors import DataError
from raymle.model.bundle import named
from raymle.records import Column, Schema
from raymle.serve import pictures, values
from raymle.serve.ipc import decoded_size, is_scalar, look_through, owned
from raymle.serve.layout import Layout
from raymle.serve.limits import (
    SHOWN_FAULTS,
    Fault,
    Limits,
    RequestError,
    check_count,
    fault,
    faulty,
    too_large,
)
from raymle.serve.wire import finite

YEARS_US = (-62_135_596_800_000_000, 253_402_300_799_999_999)
"""The first and the last moment that JSON can say: of the years 1 and 9999."""


def read(body: bytes, expected: Layout, limits: Limits) -> pa.Table:
    """Return the rows of a stream as a table of the schema's features in canonical Arrow types.

    Raises:
        RequestError: it is no such stream (400), too large (413), of a kind that is not opened (415), or a row does
            not fit (422, naming it).
    """
    if len(body) > limits.body:
        raise too_large(limits)
    try:
        look_through(body)
        return pictures.decoded(_fitted(_opened(body, expected, limits), expected), expected, limits)
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:  # a name that is not UTF-8 is a ValueError
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise RequestError(f"the body is not an Arrow stream: {reason}", kind="not_arrow") from None


def _fitted(stored: pa.Table, expected: Layout) -> pa.Table:
    faults: list[Fault] = []
    arrays = {column.name: _array(stored.column(column.name).chunk(0), column, faults) for column in expected.features}
    if faults:
        raise faulty(faults)
    return pa.table(arrays)


def _opened(body: bytes, expected: Layout, limits: Limits) -> pa.Table:
    """Return the features as they are stored, in one chunk each."""
    options = pa.ipc.IpcReadOptions(ensure_alignment=pa.ipc.Alignment.At64Byte, use_threads=False)
    with pa.ipc.open_stream(body, options=options) as reader:
        _check_columns(reader.schema, expected)
        batches = list(_checked(reader, expected, limits))
    check_count(sum(batch.num_rows for batch in batches), limits)
    return pa.Table.from_batches(batches).combine_chunks()


def _check_columns(schema: pa.Schema, expected: Layout) -> None:
    names = schema.names
    if strangers := expected.strangers(names):
        raise expected.strange(strangers[0])
    faults = [fault(None, name, values.MISSING) for name in sorted(expected.needed - set(names))]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    faults += [fault(None, name, "the column is there twice") for name in twice]
    files = {column.name for column in expected.features if column.type == "image"}
    lists = {column.name for column in expected.features if column.type == "sequence"}
    faults += [fault(None, each.name, f"{each.type} holds no single values"[-200:]) for each in schema
               if not (is_scalar(each.type) or (each.name in files and pa.types.is_binary(each.type))
                       or (each.name in lists and is_list(each.type)))]  # fmt: skip
    if faults:
        raise faulty(faults)


def _checked(batches: Iterable[pa.RecordBatch], expected: Layout, limits: Limits) -> Iterator[pa.RecordBatch]:
    """Pass on the features of batches whose offsets and indices are right, until there are too many rows or bytes."""
    names = [column.name for column in expected.features]
    rows = size = 0
    for batch in batches:
        rows += batch.num_rows
        if rows > limits.rows:
            check_count(rows, limits)
        batch.validate(full=True)
        columns = [batch.column(name) for name in names]
        size += sum(map(decoded_size, columns))
        if size > limits.body:
            raise too_large(limits)
        yield pa.RecordBatch.from_arrays([owned(column) for column in columns], names)


def _array(stored: pa.Array, column: Column, faults: list[Fault]) -> pa.Array:
    """Return a column in its canonical type; a value that does not fit becomes a fault."""
    if stored.type == ARROW[column.type] and column.type in {"category", "text", "boolean", "image"}:
        return stored
    if column.type == "image":
        if not pa.types.is_null(stored.type):
            faults.append(fault(None, column.name, f"{stored.type} is not binary, the bytes of files"))
        return pa.nulls(len(stored), pa.binary())
    try:
        array = canonical(stored, column)
    except (DataError, pa.ArrowException):
        rows = list(islice(misfits(stored, column), SHOWN_FAULTS))
        faults += [fault(row, column.name, f"{_show(stored[row])} is not a {column.type}") for row in rows]
        return stored
    if column.type == "sequence":
        return _lists(array, column, faults)
    if column.type == "number":
        far, reason = pc.greater(pc.abs(array), values.FLOAT32_MAX), "the number is beyond 3.4e38"
    elif column.type == "timestamp":
        moments = array.cast(pa.int64())
        far = pc.or_(pc.less(moments, YEARS_US[0]), pc.greater(moments, YEARS_US[1]))
        reason = "the time is not in the years 1 to 9999"
    else:
        return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    faults += [fault(row, column.name, reason) for row in pc.indices_nonzero(far)[:SHOWN_FAULTS].to_pylist()]
    return array


def _lists(array: pa.Array, column: Column, faults: list[Fault]) -> pa.Array:
    """Return lists of as many numbers as a window has, none of them too far."""
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    if column.steps is not None:
        wrong, wanted = pc.not_equal(lengths, column.steps), f"{column.steps:,}, as a window has"
    else:
        wrong, wanted = pc.greater(lengths, MOST_STEPS), f"at most {MOST_STEPS:,}"
    faults += [fault(row, column.name, f"the list has {lengths[row]} values, not {wanted}")
               for row in pc.indices_nonzero(wrong)[:SHOWN_FAULTS].to_pylist()]  # fmt: skip
    if column.whole:
        holes = pc.list_parent_indices(array).filter(pc.is_null(array.flatten(), nan_is_null=True)).unique()
        faults += [fault(row, column.name, "a value is null, and a window needs every value of this column")
                   for row in holes[:SHOWN_FAULTS].to_pylist()]  # fmt: skip
    far = pc.greater(pc.abs(array.flatten()), values.FLOAT32_MAX)
    rows = pc.list_parent_indices(array).filter(far).unique()
    faults += [fault(row, column.name, "a number is beyond 3.4e38") for row in rows[:SHOWN_FAULTS].to_pylist()]
    return array


def _show(value: Any) -> str:
    return repr(str(value.as_py())[:80])


def answer(predicted: np.ndarray, schema: Schema, version: str) -> bytes:
    """Return the response as a stream: the columns of a batch prediction, and the version in the schema's metadata.

    Raises:
        RequestError: 422 when the model has no finite answer, as far from its training data.
    """
    table = named(schema, finite(predicted)).replace_schema_metadata({"version": version})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())

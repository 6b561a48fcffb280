"""What an Arrow stream from outside could do, found out without letting it: bombs, code, pointers astray."""

import struct

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raymle.serve.limits import RequestError

MOST_MESSAGES = 1000
EXTENSION = b"ARROW:extension"
_HEADER, _DICTIONARY_DATA, _COMPRESSION = 2, 1, 3


def look_through(body: bytes) -> None:
    """Refuse what would harm merely by being opened."""
    for number, message in enumerate(pa.ipc.MessageReader.open_stream(body)):
        if number > MOST_MESSAGES:
            text = f"the stream has over {MOST_MESSAGES:,} batches; send fewer and longer ones"
            raise RequestError(text, status=413, kind="too_large")
        metadata = message.metadata.to_pybytes()
        if EXTENSION in metadata:
            raise RequestError("the stream has an extension type; send plain columns", status=415, kind="content_type")
        if _is_compressed(metadata, message.type):
            text = "the stream's buffers are compressed; write it with compression=None"
            raise RequestError(text, status=415, kind="content_encoding")


def _is_compressed(metadata: bytes, kind: str) -> bool:
    """Whether a message's flatbuffer says that its body is compressed (Arrow's format/Message.fbs)."""
    place = _table(metadata, _field(metadata, _table(metadata, 0), _HEADER))
    if kind == "dictionary":
        place = _table(metadata, _field(metadata, place, _DICTIONARY_DATA))
    return kind in {"dictionary", "record batch"} and bool(_field(metadata, place, _COMPRESSION))


def _table(metadata: bytes, place: int) -> int:
    """Follow an offset to a table."""
    return place + int(struct.unpack_from("<I", metadata, place)[0])


def _field(metadata: bytes, table: int, number: int) -> int:
    """Return where a field of a table is; 0 when it has none."""
    fields = table - struct.unpack_from("<i", metadata, table)[0]
    size = struct.unpack_from("<H", metadata, fields)[0]
    slot = 4 + 2 * number
    offset = int(struct.unpack_from("<H", metadata, fields + slot)[0]) if slot < size else 0
    return table + offset if offset else 0


def is_scalar(kind: pa.DataType) -> bool:
    """Whether a column of that type holds single values: no lists, structures, bytes or runs."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    checks = (
        pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal,
        pa.types.is_temporal, _is_text,
    )  # fmt: skip
    return any(check(kind) for check in checks)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def decoded_size(array: pa.Array) -> int:
    """Return how many bytes a column's text has once every row has its own: codes and views may share them."""
    if pa.types.is_dictionary(array.type):
        if not _is_text(array.type.value_type):
            return 0
        return _total(_lengths(array.dictionary)) + _total(_lengths(array.dictionary).take(array.indices))
    return _total(_lengths(array)) if _is_text(array.type) else 0


def _total(lengths: pa.Array) -> int:
    return int(pc.sum(lengths).as_py() or 0)


def _lengths(text: pa.Array) -> pa.Array:
    if not pa.types.is_string_view(text.type):
        return pc.binary_length(text).cast(pa.int64())
    views = np.frombuffer(text.buffers()[1] or b"", np.int32)[4 * text.offset :][: 4 * len(text) : 4]
    return pa.array(views.astype(np.int64), mask=text.is_null().to_numpy(zero_copy_only=False))


def owned(array: pa.Array) -> pa.Array:
    """Give views of text bytes of their own; by way of Python, as Arrow's cast follows the views of nulls too."""
    if pa.types.is_dictionary(array.type):
        return pa.DictionaryArray.from_arrays(array.indices, owned(array.dictionary))
    return pa.array(array.to_pylist(), pa.string()) if pa.types.is_string_view(array.type) else array

"""Two hashes for every row, of what its values are and not of how a format stores them."""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.data.casts import PATTERNS, canonical, is_list, plain, without_null_words
from raymle.data.scramble import GOLDEN as NULL
from raymle.data.scramble import mix as mix
from raymle.errors import DataError
from raymle.records import Column

Hashes = NDArray[np.uint64]
WHOLE = 2**53
LARGE = re.compile(r"-?[1-9]\d{15,19}")
WORDS = Column(name="", type="category", role="feature")
MOMENTS = Column(name="", type="timestamp", role="feature")
CLOCKS = Column(name="", type="number", role="feature")
TEXT_KEY = "raymle row hash."  # pandas asks for 16 bytes


def row_hashes(batch: pa.RecordBatch, keys: Sequence[str], *, target: str) -> tuple[Hashes, Hashes]:
    """Return each row's identity and content.

    The identity hashes the keys, or where there are none all columns but the target, under their names; it says
    which side a row is on. The content hashes all columns but the target without names or order, so that a renamed,
    copied or rearranged file has the same rows; the ledger remembers it. A value counts the same however a format
    stores it, a number as 7, 7.0 or "7.0", a moment as a timestamp or as text; only as keys "7" and "07" are two.
    """
    identity = np.zeros(batch.num_rows, np.uint64)
    for name in keys:
        identity += _exact_and_loose(batch.column(name))[0] * _salt(name)
    content = np.zeros(batch.num_rows, np.uint64)
    for name in batch.schema.names:
        if name == target:
            continue
        loose = _exact_and_loose(batch.column(name))[1]
        content += loose
        if not keys:
            identity += loose * _salt(name)
    return mix(identity), mix(content)


def content(batch: pa.RecordBatch) -> Hashes:
    """Return the content of rows whose batch holds no target."""
    return row_hashes(batch, batch.schema.names[:1], target="")[1]


def _salt(name: str) -> np.uint64:
    """Return an odd number for a column's name: multiplying by it loses nothing."""
    return np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") | 1)


def column_hashes(values: pa.Array) -> Hashes:
    """Hash every value of a column; text that spells a number as it would be written counts as that number."""
    return _exact_and_loose(values)[0]


def _exact_and_loose(values: pa.Array) -> tuple[Hashes, Hashes]:
    """Hash every value: numbers by their float64 bits, text through its distinct values.

    In the second hashes any spelling of a number counts as that number.
    """
    kind = values.type
    if pa.types.is_null(kind):
        hashes = np.full(len(values), mix(np.array([NULL]))[0])
    elif pa.types.is_integer(kind) and not _fits(values):
        hashes = _large_hashes(values)
    elif pa.types.is_integer(kind) or pa.types.is_float64(kind):
        hashes = _number_hashes(values)
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        hashes = _number_hashes(values.cast(pa.string()).cast(pa.float64()))  # 0.1 is 0.1 in any width
    elif pa.types.is_boolean(kind):
        hashes = _number_hashes(values.cast(pa.int8()))
    elif pa.types.is_temporal(kind):
        hashes = _number_hashes(_microseconds(values))
    elif is_list(kind):
        hashes = _list_hashes(values)
    else:
        encoded = values if pa.types.is_dictionary(kind) else as_text(values).dictionary_encode()
        exact, loose = _text_hashes(encoded.dictionary)
        hashes = _take(exact, encoded.indices)
        return hashes, hashes if loose is exact else _take(loose, encoded.indices)
    return hashes, hashes


def _list_hashes(values: pa.Array) -> Hashes:
    """Hash lists of numbers by their values and the places of these."""
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum(lengths)
    place = np.arange(lengths.sum()) - np.repeat(ends - lengths, lengths)
    odd = mix(place.astype(np.uint64)) | np.uint64(1)
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_number_hashes(values.flatten()) * odd)])
    found = mix(total[ends] - total[ends - lengths] + lengths.astype(np.uint64))
    return np.where(np.asarray(values.is_null()), mix(np.array([NULL]))[0], found)


def _microseconds(values: pa.Array) -> pa.Array:
    """Return a moment, day, time of day or duration as whole microseconds."""
    kind = values.type
    if pa.types.is_time(kind):
        unit = pa.time64("us")
    else:
        unit = pa.duration("us") if pa.types.is_duration(kind) else pa.timestamp("us", getattr(kind, "tz", None))
    return values.cast(unit, safe=False).cast(pa.int64())


def as_text(values: pa.Array) -> pa.Array:
    """Return any values as text, each by itself: what is in the same batch must not matter."""
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return pa.array(map(_word, values.to_pylist()), pa.string())
    try:
        return values.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.array([repr(value) for value in values.to_pylist()], pa.string())


def _word(value: bytes | None) -> str | None:
    """Return bytes as the text that they are, or as a digest of them."""
    try:
        return value if value is None else value.decode()
    except UnicodeDecodeError:
        return hashlib.blake2b(value or b"", digest_size=16).hexdigest()


def _number_hashes(values: pa.Array) -> Hashes:
    numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    bits = (numbers + 0.0).view(np.uint64)  # -0.0 + 0.0 is 0.0
    return mix(np.where(np.isnan(numbers), NULL, bits))


def _fits(values: pa.Array) -> bool:
    limits = pc.min_max(values)
    return all(abs(limits[name].as_py() or 0) <= WHOLE for name in ("min", "max"))


def _large_hashes(values: pa.Array) -> Hashes:
    """Hash integers of which some are beyond what a float64 tells apart, as ids are."""
    known = np.asarray(values.is_valid())
    integers = pc.fill_null(values, 0).to_numpy()
    large = (integers > WHOLE) | (integers < -WHOLE)
    bits = integers.astype(np.int64).view(np.uint64)
    return np.where(known & large, mix(mix(bits)), _number_hashes(values))


def _text_hashes(distinct: pa.Array) -> tuple[Hashes, Hashes]:
    """Hash words, those that are a number like that number: first if spelled as one would be, then if at all.

    In the second hashes a word that reads as a moment, a time of day or a truth value is that too.
    """
    text = pc.replace_substring_regex(without_null_words(as_text(distinct)), r"^(-?(?:0|[1-9][0-9]*))\.0+$", r"\1")
    words = text.to_numpy(zero_copy_only=False)
    absent = pd.isna(words)
    hashes = mix(pd.util.hash_array(np.where(absent, "", words).astype(object), hash_key=TEXT_KEY))
    hashes[absent] = mix(np.array([NULL]))
    numbers = pd.to_numeric(pd.Series(words, dtype=object), errors="coerce").to_numpy(np.float64)
    finite = np.flatnonzero(np.isfinite(numbers))
    loose = hashes.copy()
    if len(finite):
        far = finite[np.abs(numbers[finite]) >= WHOLE]
        large = far[np.array([LARGE.fullmatch(word) is not None for word in words[far]], bool)]
        bits = np.array([int(word) % 2**64 for word in words[large]], np.uint64)
        loose[large] = hashes[large] = mix(mix(bits))
        small = finite[np.abs(numbers[finite]) < WHOLE]
        loose[small] = _number_hashes(pa.array(numbers[small]))
        alike = small[words[small] == _spelled(numbers[small])]
        hashes[alike] = loose[alike]
    for pattern, read in READINGS:
        places = np.flatnonzero(pc.fill_null(pc.match_substring_regex(text, pattern), fill_value=False))
        if len(places):
            values = _read(text.take(pa.array(places)), read)
            known = np.asarray(values.is_valid())
            loose[places[known]] = _number_hashes(values.drop_null())
    return hashes, loose


def _truths(text: pa.Array) -> pa.Array:
    return pc.equal(pc.utf8_lower(text), "true").cast(pa.float64())


def _moments(text: pa.Array) -> pa.Array:
    return canonical(text, MOMENTS).cast(pa.int64()).cast(pa.float64())


def _clocks(text: pa.Array) -> pa.Array:
    return pc.multiply(canonical(text, CLOCKS), 1e6)


READINGS: tuple[tuple[str, Callable[[pa.Array], pa.Array]], ...] = (
    (r"^(?i:true|false)$", _truths),
    (PATTERNS["timestamp"], _moments),
    (PATTERNS["clock"], _clocks),
)
"""What a word may also be: how it looks, and the number that a column of that type holds for it."""


def _read(text: pa.Array, read: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Read words as numbers; one that only looks so, such as 2026-13-01, is null and spoils no other."""
    try:
        return read(text)
    except DataError:
        if len(text) == 1:
            return pa.nulls(1, pa.float64())
        middle = len(text) // 2
        return pa.concat_arrays([_read(text[:middle], read), _read(text[middle:], read)])


def _spelled(numbers: NDArray[np.float64]) -> NDArray[Any]:
    """Return numbers as they would be written: whole ones without a point."""
    return np.asarray(plain(canonical(pa.array(numbers), WORDS)).to_numpy(zero_copy_only=False))


def _take(distinct: Hashes, indices: pa.Array) -> Hashes:
    known = np.append(distinct, mix(np.array([NULL])))
    places = pc.fill_null(indices.cast(pa.int64()), len(distinct))
    return np.asarray(known[places.to_numpy(zero_copy_only=False)])

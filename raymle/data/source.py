"""From what the spec names to Arrow batches: a file, glob or folder of files, or a table."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from raymle.data import formats, image_files, text_files
from raymle.data.formats import File
from raymle.data.identity import file_digest, table_digest
from raymle.data.places import KNOWN, absolute, explained, filesystem, find, name_of, path_of
from raymle.errors import DataError, UsageError
from raymle.store import Store

if TYPE_CHECKING:
    import pandas as pd

PACKED = (".gz", ".bz2", ".zst")
TEXT_BYTES = 16
"""Guessed of a value whose type has no width."""
IMAGE_BYTES = 16 << 10
"""Guessed of a value that is bytes."""
TABLE = "<table>"
"""What ``data.source`` says in the spec of a run that was made of a table in memory."""


@dataclass(frozen=True)
class Source:
    """Rows that can be read again and again.

    ``files`` are absolute paths or URIs of one file system, ``bytes`` estimates what they decode to, and
    ``columns`` are the types as stored (``batches`` may hand out text as dictionaries).
    """

    files: tuple[str, ...]
    format: Literal["parquet", "csv", "json", "table"]
    bytes: int
    columns: pa.Schema
    table: pa.Table | None = None
    root: str = ""
    """The folder that names of files start at."""
    images: tuple[str, ...] = ()
    """Columns whose values are such names; they are read as the files' bytes."""
    image_bytes: int = 0
    """About how many bytes the files of a row have."""
    aside: tuple[str, ...] = ()
    """Columns that say where a row was found: two rows that differ only there are the same."""

    @property
    def name(self) -> str:
        """What an error calls it."""
        if not self.files:
            return name_of(self.root) if self.aside else "the table"
        more = len(self.files) - 1
        return name_of(self.files[0]) + (f" and {more} more files" if more else "")


def resolve(source: "str | pa.Table | pd.DataFrame", *, folder: str, words: Collection[str] = ()) -> Source:
    """Find the files behind a path, glob, folder or URI (relative to ``folder``), or wrap a table.

    Args:
        source: What the spec names, or a table.
        folder: Where a relative path starts.
        words: Columns of a csv that are read as the text they are, whatever they look like.

    Raises:
        DataError: nothing is there, or it is not data that raymle reads.
        SetupError: the place cannot be reached.
    """
    if not isinstance(source, str):
        return _with_images(_wrap(source), absolute(".", folder), words)
    uri = absolute(source, folder)
    system = filesystem(uri, attempts=3)  # a wrong address should not take minutes to show
    with explained(uri, system):
        found = find(system, uri)
    if any(map(image_files.is_image, found)):
        return _of_images(image_files.root_of(uri, found), found)
    if found != [uri] and all(map(text_files.is_text, found)):
        return _of_texts(text_files.root_of(uri), found)
    kind = _one_format(found, source)
    with explained(found[0], system):
        columns = formats.columns(File(system, path_of(found[0]), kind))
    _refuse_unusable(columns.names, name_of(found[0]))
    if kind == "csv":
        columns = pa.schema([(each.name, pa.string() if each.name in words else each.type) for each in columns])
    decoded = Source(tuple(found), kind, _decoded_bytes(system, found, kind), columns)
    return _with_images(decoded, found[0].rpartition("/")[0], words)


def batches(source: Source, columns: Sequence[str] | None = None, *, rows: int = 131_072) -> Iterator[pa.RecordBatch]:
    """Yield the rows in order, at most ``rows`` a batch; call again to read again."""
    for batch in named(source, columns, rows=rows):
        yield image_files.loaded(batch, source)


def named(source: Source, columns: Sequence[str] | None = None, *, rows: int = 131_072) -> Iterator[pa.RecordBatch]:
    """Yield the same rows with the names of image files, not what is in them."""
    names = source.columns.names if columns is None else list(columns)
    if source.format == "table" or source.table is not None:
        yield from source.table.select(names).to_batches(max_chunksize=rows)  # type: ignore[union-attr]
        return
    system = filesystem(source.files[0])
    for uri in source.files:
        file = File(system, path_of(uri), source.format)
        with explained(uri, system):
            if uri != source.files[0]:
                check_columns(formats.names(file), source, uri)
            yield from formats.read(file, schema=image_files.stored(source), names=names, rows=rows)


def row_bytes(columns: pa.Schema) -> int:
    """Return about how many bytes one decoded row has."""
    return sum(_value_bytes(kind) for kind in columns.types)


def _value_bytes(kind: pa.DataType) -> int:
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return IMAGE_BYTES
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return TEXT_BYTES


def is_table(source: str) -> bool:
    """Whether a spec's ``data.source`` was a table in memory, which cannot be read again."""
    return name_of(source) == TABLE


def fingerprint(source: Source, store: Store) -> str:
    """Return the sha256 of the contents, whatever the files are called and in which order they are found.

    A file whose path, size, times and inode (in an object store: etag) are known is not read again.
    """
    if source.images:
        return _with_files(source, store)
    if source.table is not None:
        return table_digest(source.table)
    system, memo = filesystem(source.files[0]), store.root / "memo"
    with ThreadPoolExecutor(4) as pool:
        digests = sorted(pool.map(lambda uri: file_digest(system, uri, memo), source.files))
    return hashlib.sha256("\n".join([source.format, *digests]).encode()).hexdigest()


def _of_texts(root: str, found: Sequence[str]) -> Source:
    """Read a folder of texts as a table."""
    rows = text_files.table(root, found)
    aside = tuple(name for name in (text_files.PATH, text_files.SPLIT) if name in rows.column_names)
    return Source((), "table", rows.nbytes, rows.schema, rows, root=root, aside=aside)


def _of_images(root: str, found: Sequence[str]) -> Source:
    """Take a folder of images for a table of their paths."""
    rows = image_files.table(root, found)
    sizes = image_files.sizes(root, rows[image_files.PATH].to_pylist())
    columns = rows.schema.set(0, pa.field(image_files.IMAGE, pa.binary()))
    aside = tuple(name for name in (image_files.PATH, image_files.SPLIT) if name in columns.names)
    mean = sum(sizes) // max(1, len(sizes))
    return Source((), "table", sum(sizes), columns, rows, root, (image_files.IMAGE,), mean, aside)


def _with_images(source: Source, root: str, words: Collection[str]) -> Source:
    """Find the columns that name image files; they will be read as the files' bytes."""
    texts = [each.name for each in source.columns if pa.types.is_string(each.type) and each.name not in words]
    first = None
    with suppress(DataError):  # whoever reads all rows says what is wrong with one
        first = next(named(source, texts, rows=image_files.LOOKED_AT), None) if texts else None
    found = image_files.paths_in(first, root, words=words) if first is not None else ()
    if not found or first is None:
        return source
    columns = pa.schema([(each.name, pa.binary() if each.name in found else each.type) for each in source.columns])
    sizes = [image_files.sizes(root, first.column(name).drop_null().to_pylist()) for name in found]
    mean = sum(sum(each) // max(1, len(each)) for each in sizes)
    rows = sum(batch.num_rows for batch in named(source, found[:1]))
    whole = source.bytes + mean * rows
    return replace(source, bytes=whole, columns=columns, root=root, images=found, image_bytes=mean)


def _with_files(source: Source, store: Store) -> str:
    """Return the sha256 over a table and the image files that it names."""
    names = [name for batch in named(source, source.images) for column in batch.columns for name in column.to_pylist()]
    rows = fingerprint(replace(source, images=()), store) if source.files else table_digest(_plain(source))
    return hashlib.sha256(f"{rows}\n{image_files.digest(source.root, names, store)}".encode()).hexdigest()


def _plain(source: Source) -> pa.Table:
    assert source.table is not None
    return source.table


def _wrap(table: "pa.Table | pd.DataFrame") -> Source:
    if not isinstance(table, pa.Table):
        table = _from_pandas(table)
    _refuse_unusable(table.column_names, "the table")
    table = table.replace_schema_metadata(None)
    return Source((), "table", table.nbytes, table.schema, table)


def _from_pandas(frame: "pd.DataFrame") -> pa.Table:
    if not hasattr(frame, "columns"):
        raise UsageError(
            f"data is a {type(frame).__name__}, not a path, pandas or Arrow table",
            hint="pandas.DataFrame(data) makes one",
        )
    names = [str(name) for name in frame.columns]
    _refuse_unusable(names, "the table")
    try:
        return pa.Table.from_pandas(frame.set_axis(names, axis=1), preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        cause = " ".join(part.strip() for part in map(str, error.args))
        raise DataError(f"the table has a column of mixed types: {cause}", hint="give it one type") from error
    except pa.ArrowNotImplementedError as error:
        raise DataError(f"the table has a column that Arrow cannot hold: {error}", hint="drop it first") from error


def _one_format(found: list[str], source: str) -> formats.Format:
    kinds = Counter(formats.of(uri) or "unknown" for uri in found)
    if "unknown" in kinds:
        name = next(name_of(uri) for uri in found if formats.of(uri) is None)
        raise DataError(f"{name} is not a kind of file that raymle reads", hint=f"it reads {KNOWN}")
    if len(kinds) > 1:
        mixed = " and ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        hint = "name one kind with a glob such as *.csv"
        raise DataError(f"{source} mixes formats: {mixed} files", hint=hint)
    return formats.of(found[0]) or "csv"


def _refuse_unusable(names: Sequence[str], where: str) -> None:
    if not names:
        raise DataError(f"{where} has no columns")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{where} has more than one column named {twice[0]!r}", hint="rename one of them")


def check_columns(names: list[str] | None, source: Source, uri: str) -> None:
    """Refuse a file whose columns are not those of the first one, in whatever order."""
    if names is None:
        return
    first, other, known = name_of(source.files[0]), name_of(uri), source.columns.names
    _refuse_unusable(names, other)
    for name in (*known, *names):
        if name not in names:
            raise DataError(f"{other} has no column {name!r}, which {first} has", hint="name files that are alike")
        if name not in known:
            raise DataError(f"{other} has a column {name!r}, which {first} has not", hint="name files that are alike")


def _decoded_bytes(system: pafs.FileSystem, found: list[str], kind: formats.Format) -> int:
    stored: list[int] = [info.size for info in system.get_file_info([path_of(uri) for uri in found])]
    if kind != "parquet":
        return sum(size * (5 if uri.endswith(PACKED) else 1) for uri, size in zip(found, stored, strict=True))
    with explained(found[0], system):
        footer = pq.read_metadata(path_of(found[0]), filesystem=system)
    groups = sum(footer.row_group(index).total_byte_size for index in range(footer.num_row_groups))
    rows = footer.num_rows * row_bytes(footer.schema.to_arrow_schema())
    decoded: int = max(groups, rows)  # a column of few values is stored as codes
    return round(sum(stored) * decoded / stored[0])

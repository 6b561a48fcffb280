"""How parquet, csv and newline JSON become Arrow batches whose types do not depend on where a block ends."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from raymle.data.json_lines import first_rows
from raymle.errors import DataError

Format = Literal["parquet", "csv", "json"]
SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}
CSV_BLOCK = 2 << 20
JSON_BLOCK = 16 << 20
"""Large, because a field that first appears later is refused."""
BUFFER_BYTES = 1 << 20
"""Of each parquet column that is read: a row group may be larger than memory."""
CODE_BYTES = 3
"""More a value means that a parquet column is not stored as codes."""
EXACT = 2**53
"""Whole numbers up to here are exact as floats, so a column of them may turn out to hold fractions later."""


@dataclass(frozen=True)
class File:
    """One data file: the file system, its path there, and its format."""

    system: pafs.FileSystem
    path: str
    format: Format

    def stream(self) -> pa.NativeFile:
        """Open its content, unpacked when its name says that it is packed."""
        return self.system.open_input_stream(self.path)


def of(path: str) -> Format | None:
    """Return the format that a file's name says, looking through .gz, .bz2 and .zst."""
    name = re.sub(r"\.(gz|bz2|zst)$", "", path.lower())
    return next((known for suffix, known in SUFFIXES.items() if name.endswith(suffix)), None)


def columns(file: File) -> pa.Schema:
    """Return a file's columns with the types that ``read`` gives them."""
    find = {"parquet": _parquet_columns, "csv": _csv_columns, "json": _json_columns}
    return find[file.format](file)


def names(file: File) -> list[str] | None:
    """Return a file's column names without reading its rows; None where each row brings its own."""
    if file.format == "json":
        return None
    if file.format == "parquet":
        return list(_parquet_columns(file).names)
    return _csv_names(file)


def _csv_names(file: File) -> list[str]:
    with _open_csv(file, on_ragged=_skip) as reader:
        return list(reader.schema.names)


def footer(file: File) -> tuple[list[str], list[int]]:
    """Return a parquet file's column names, and the rows of each row group."""
    found = pq.read_metadata(file.path, filesystem=file.system)
    groups = [found.row_group(place).num_rows for place in range(found.num_row_groups)]
    return found.schema.to_arrow_schema().names, groups


def read(
    file: File, *, schema: pa.Schema, names: Sequence[str], rows: int, groups: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield a file's batches: the named columns in that order, at most that many rows each.

    Args:
        file: Which one.
        schema: The columns with their types.
        names: Which of them are read.
        rows: The most rows of a batch.
        groups: The row groups of a parquet file that are read; all when None.
    """
    if file.format == "parquet":
        found = _read_parquet(file, schema, names, rows, groups)
    else:
        found = _read_csv(file, schema, names) if file.format == "csv" else _read_json(file, schema)
    for batch in found:
        batch.validate(full=True)  # parquet and JSON readers take bytes that are not text for text
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows).select(names)


def _parquet_columns(file: File) -> pa.Schema:
    return pq.read_schema(file.path, filesystem=file.system).remove_metadata()


def _read_parquet(
    file: File, schema: pa.Schema, names: Sequence[str], rows: int, groups: Sequence[int] | None
) -> Iterator[pa.RecordBatch]:
    footer = pq.read_metadata(file.path, filesystem=file.system)
    texts = [name for name in _few_valued(footer) if name in names and _is_text(schema.field(name).type)]
    ahead = not isinstance(file.system, pafs.LocalFileSystem)  # quicker far away; it keeps all that it has read
    with pq.ParquetFile(
        file.path, filesystem=file.system, metadata=footer, read_dictionary=texts,
        pre_buffer=ahead, buffer_size=0 if ahead else BUFFER_BYTES,
    ) as reader:  # fmt: skip
        yield from reader.iter_batches(batch_size=rows, row_groups=groups, columns=list(names))


def _few_valued(footer: pq.FileMetaData) -> list[str]:
    """Return the columns that are stored as codes: quicker read as dictionaries, the others much slower."""
    if not footer.num_row_groups:
        return []
    group = footer.row_group(0)
    chunks = [group.column(place) for place in range(group.num_columns)]
    return [
        chunk.path_in_schema
        for chunk in chunks
        if chunk.has_dictionary_page and chunk.total_uncompressed_size < CODE_BYTES * chunk.num_values
    ]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _csv_columns(file: File) -> pa.Schema:
    head = _first_csv_block(file)
    whole = [field.name for field in head.schema if pa.types.is_integer(field.type)]
    texts = _first_csv_block(file, whole).columns if whole else []
    padded = {name for name, text in zip(whole, texts, strict=True) if has_leading_zeros(text)}
    return pa.schema(
        [
            (name, pa.string() if name in padded else _settled(column))
            for name, column in zip(head.schema.names, head.columns, strict=True)
        ]
    )


def has_leading_zeros(text: pa.Array) -> bool:
    """Say whether digits are codes, such as 00501, rather than numbers."""
    return bool(pc.any(pc.match_substring_regex(text, r"^-?0\d")).as_py())


def _settled(column: pa.Array) -> pa.DataType:
    """Return the type to read a whole column with, given its first block."""
    if pa.types.is_null(column.type):
        return pa.string()
    if pa.types.is_binary(column.type):  # what Arrow makes of text that is not UTF-8
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid byte")
    if pa.types.is_temporal(column.type):  # the next one may have a fraction, a zone, or be a word
        return pa.string()
    if pa.types.is_integer(column.type):
        limits = pc.min_max(column).as_py()
        return pa.int64() if max(abs(limits["min"]), abs(limits["max"])) > EXACT else pa.float64()
    return column.type


def _first_csv_block(file: File, texts: Sequence[str] = ()) -> pa.RecordBatch:
    """Read the start of a csv: all columns, or only those, as text. Rows of another length are told by ``read``."""
    types = dict.fromkeys(texts, pa.string())
    with _open_csv(file, types=types, names=texts, on_ragged=_skip) as reader:
        return next(iter(reader), pa.RecordBatch.from_pylist([], schema=reader.schema))


def _skip(_: Any) -> str:
    return "skip"


def _open_csv(
    file: File,
    *,
    types: dict[str, pa.DataType] | None = None,
    names: Sequence[str] = (),
    parallel: bool = True,
    on_ragged: Callable[[Any], str] | None = None,
) -> pa.csv.CSVStreamingReader:
    return pa.csv.open_csv(
        file.stream(),
        pa.csv.ReadOptions(block_size=CSV_BLOCK, use_threads=parallel),
        pa.csv.ParseOptions(delimiter=_delimiter(file), newlines_in_values=True, invalid_row_handler=on_ragged),
        pa.csv.ConvertOptions(column_types=types or {}, include_columns=list(names), strings_can_be_null=True),
    )


def _delimiter(file: File) -> str:
    """Return the delimiter of the header: a comma unless only another one is in it."""
    with file.stream() as stream:
        header = stream.read(1 << 16).split(b"\n", 1)[0].decode("utf-8", "replace")
    return "," if "," in header else next((mark for mark in "\t;|" if mark in header), ",")


def _read_csv(file: File, schema: pa.Schema, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield batches of the types that the first block has.

    Raises:
        DataError: a later value does not fit; to go on with text from there would split rows by where they stand.
    """
    types = {name: schema.field(name).type for name in names}
    try:
        with _open_csv(file, types=types, names=names) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        misfit = re.search(
            r"In CSV column #(\d+).*?conversion error to (\w+): invalid value '(.*)'", str(error), re.DOTALL
        )
        if not misfit:
            raise
        name, kind = _csv_names(file)[int(misfit[1])], "boolean" if misfit[2] == "bool" else "number"
        raise DataError(
            f"column {name!r} is {kind}, but holds {misfit[3][:80]!r}",
            hint=f"clean the values, set data.types: {{{name}: category}}, or drop the column",
        ) from None


def csv_as_text(file: File, names: Sequence[str], ragged: list[tuple[int, str]]) -> Iterator[pa.RecordBatch]:
    """Yield a csv's rows as text; the number of a row with too few or too many values is added, with the reason."""

    def skip(row: Any) -> str:
        has, expected = row.actual_columns, row.expected_columns
        ragged.append((row.number - 1, f"has {has} value{'s' * (has != 1)}, not {expected}: {row.text[:80]}"))
        return "skip"

    types = dict.fromkeys(names, pa.string())
    with _open_csv(file, types=types, names=names, parallel=False, on_ragged=skip) as reader:
        yield from reader


def ragged_row(file: File) -> str:
    """Say which row of a csv has too few or too many values; empty when none has."""
    found: list[Any] = []

    def keep_first(row: Any) -> str:
        found.append(row)
        return "error"

    with suppress(pa.ArrowInvalid), _open_csv(file, parallel=False, on_ragged=keep_first) as reader:
        for _ in reader:
            pass
    if not found:
        return ""
    number, has, expected = found[0].number, found[0].actual_columns, found[0].expected_columns
    return f"row {number} (the header is row 1) has {has} value{'s' * (has != 1)}, not {expected}"


def _json_columns(file: File) -> pa.Schema:
    try:
        with _open_json(file, None) as reader:
            head = reader.read_next_batch()
    except pa.ArrowInvalid:
        with file.stream() as stream:
            head = first_rows(stream)  # ``read`` tells what is wrong with the others
        if head is None:
            raise
    return pa.schema([(name, _settled(each)) for name, each in zip(head.schema.names, head.columns, strict=True)])


def _open_json(file: File, schema: pa.Schema | None) -> Any:
    with file.stream() as stream:
        if stream.read(1 << 10).lstrip()[:1] == b"[":
            raise DataError(
                f"{Path(file.path).name} is one JSON list, not newline JSON",
                hint="write one object a line, e.g. `jq -c '.[]' in.json > out.jsonl`",
            )
    unexpected = "infer" if schema is None else "error"
    return pa.json.open_json(
        file.stream(),
        pa.json.ReadOptions(block_size=JSON_BLOCK),
        pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=unexpected),
    )


def _read_json(file: File, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with _open_json(file, schema) as reader:
        yield from reader

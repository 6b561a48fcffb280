"""All that a batch prediction rests on, decided before anything is written."""

import hashlib
import json
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from raymle.data import rewindowed, words_of
from raymle.data.casts import ARROW
from raymle.data.identity import identity
from raymle.data.image_files import PATH, files_of, stored
from raymle.data.places import filesystem, name_of
from raymle.data.prepare import apply_all
from raymle.data.schema import missing
from raymle.data.source import Source, batches, resolve, row_bytes
from raymle.errors import DataError, UsageError
from raymle.folders import MANIFEST, digest
from raymle.model import read_contents
from raymle.model.contents import Contents
from raymle.predict.chunks import AT_ONCE, Chunk, chunks, total
from raymle.predict.output import Output, located

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
ROWS, BATCH_BYTES = 65_536, 32 << 20
"""The most rows and bytes that are predicted at one time; a few such batches are in memory at once."""
FEW_ROWS = 64
FILE, ROW = "file", "row"
"""The output's columns that say which row it is where no key does; the row's number in its file is from 1."""


@dataclass(frozen=True)
class Job:
    """A model, the rows in their chunks, and where the predictions go."""

    bundle: Path
    contents: Contents
    source: Source
    chunks: tuple[Chunk, ...]
    names: tuple[str, ...]
    """The columns that are read."""
    columns: pa.Schema
    """Those of the output."""
    output: Output
    plan: dict[str, str]
    """What decides every byte of the output; parts of another plan are never used."""
    told: tuple[str, ...] = ()
    """What was noticed while windows were made of moments."""

    @property
    def rows(self) -> int | None:
        """How many rows there are; None when only reading tells."""
        return total(self.chunks)

    @property
    def keys(self) -> list[pa.Field]:
        """The output's columns that come from the source."""
        names = {*self.contents.data_schema.named("key"), *carried(self.source)}
        return [field for field in self.columns if field.name in names]

    @property
    def is_typed(self) -> bool:
        """Whether the source's columns have types of their own, as text has not."""
        return self.source.format in {"parquet", "table"}

    @property
    def batch_rows(self) -> int:
        """The most rows of one batch: fewer where rows, or their predictions, are wide."""
        wide = row_bytes(pa.schema([self.source.columns.field(name) for name in self.names]))
        wide += self.source.image_bytes
        return max(1, min(ROWS, BATCH_BYTES // (wide + row_bytes(self.columns))))

    @property
    def folder(self) -> str:
        """Where the parts of this plan are until all of them are there."""
        return f"{self.output.scratch}/{hashlib.sha256(json.dumps(self.plan).encode()).hexdigest()[:16]}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Say which keys the output will not have, and which moments no answer."""
        absent = [name for name in self.contents.data_schema.named("key") if name not in self.columns.names]
        return (*self.told, *(f"key {name} is not in {self.source.name}, nor in the output" for name in absent))


def job(bundle: Path, source: "str | pa.Table | pd.DataFrame", output: str | Path, *, folder: str = ".") -> Job:
    """Look at the model, every file's columns and the output; nothing is loaded or written.

    Raises:
        DataError: the source is not there or not readable, or lacks a column.
        UsageError: the output cannot be that.
        ArtifactError: there is no bundle.
    """
    contents = read_contents(bundle)
    origin = found = resolve(source, folder=folder, words=words_of(contents.data_schema))
    told: tuple[str, ...] = ()
    if contents.data_schema.series:
        found, _, told = rewindowed(origin, contents.data_schema)
    visible = _transformed(contents, found, bundle) if contents.transforms else found.columns.names
    names, columns = _read(contents, found, visible), _written(contents, found, visible, _places(found, source))
    place = located(output, origin)
    cut = chunks(found)
    plan = {
        "model": str(digest(bundle / MANIFEST)["sha256"]),
        "source": _identity(origin),
        "columns": f"{[str(found.columns.field(name)) for name in names]} {columns}",
        "chunks": hashlib.sha256(repr(cut).encode()).hexdigest(),
        "raymle": str(FORMAT),
    }
    return Job(bundle, contents, found, cut, tuple(names), columns, place, plan, told)


def _transformed(contents: Contents, source: Source, bundle: Path) -> list[str]:
    """Name the columns that the user's own transforms make of the first rows; those may be bad ones, so guess then."""
    first = next(batches(source, rows=FEW_ROWS), source.columns.empty_table())
    with suppress(DataError):
        if first.num_rows:
            return list(apply_all(first, references=contents.transforms, folder=str(bundle / "code")).schema.names)
    return [each.name for each in contents.data_schema.columns]


def _read(contents: Contents, source: Source, visible: list[str]) -> list[str]:
    """Name the columns that are read: the user's own transforms may look at any.

    Raises:
        DataError: a feature is not there.
    """
    for column in contents.data_schema.features:
        if column.name not in visible:
            raise missing(column.name, visible)
    if contents.transforms:
        return [name for name in source.columns.names if not name.startswith("quarantine_")]
    needed = [each.name for each in contents.data_schema.columns if each.role in {"feature", "key"}]
    return [name for name in [*needed, *carried(source)] if name in visible]


def carried(source: Source) -> list[str]:
    """Name the columns that come along because they say which row it is: of a folder of images the path."""
    return [name for name in source.aside if name == PATH]


def _written(contents: Contents, source: Source, visible: list[str], places: list[pa.Field]) -> pa.Schema:
    """Return the output's columns: keys, or else the row's place; prediction, and each class's probability.

    Raises:
        UsageError: two have the same name.
    """
    schema = contents.data_schema
    named = dict.fromkeys([*schema.named("key"), *carried(source)])
    keys = [pa.field(name, _key_type(contents, source, name)) for name in named if name in visible] or places
    kind = pa.dictionary(pa.int32(), pa.string()) if schema.classes else pa.float64()
    chances = [pa.field(f"probability_{each}", pa.float64()) for each in schema.classes]
    fields = [*keys, pa.field("prediction", kind), *chances]
    twice = [name for name, count in Counter(field.name for field in fields).items() if count > 1]
    if twice:
        raise UsageError(f"key {twice[0]!r} has the name of a column that is predicted", hint="rename it in the data")
    return pa.schema(fields)


def _places(found: Source, source: "str | pa.Table | pd.DataFrame") -> list[pa.Field]:
    """Return the columns that say where a row is; a glob or a folder may have one file today and two tomorrow."""
    is_one = not found.files or (isinstance(source, str) and name_of(source) == name_of(found.files[0]))
    return [*([] if is_one else [pa.field(FILE, pa.dictionary(pa.int32(), pa.string()))]), pa.field(ROW, pa.int64())]


def _key_type(contents: Contents, source: Source, name: str) -> pa.DataType:
    """Return the type in which a key is stored, to be joined by; text formats have none, so theirs is text."""
    if source.format in {"parquet", "table"} and name in source.columns.names:
        return stored(source).field(name).type
    return ARROW[next(each.type for each in contents.data_schema.columns if each.name == name)]


def _identity(source: Source) -> str:
    """Return what changes when a file changes; a table in memory is never the one of another call."""
    if source.aside and source.table is not None:
        return files_of(source.root, source.table[PATH].to_pylist())
    if source.table is not None:
        return uuid.uuid4().hex
    system = filesystem(source.files[0])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = [each for each, _ in pool.map(lambda uri: identity(system, uri), source.files)]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()

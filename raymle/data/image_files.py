"""Images that are files of their own: a folder with a sub-folder for each class, or a table that names them.

A folder is taken for a table of paths. Whoever reads a batch of rows puts the files in the place of their names, many
at a time: from there on an image is bytes, wherever it was.
"""

import hashlib
import json
import re
import stat
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs as pafs

from raymle.data.casts import is_text
from raymle.data.images import UNREAD
from raymle.data.places import IMAGES, filesystem, path_of
from raymle.data.split import SPELLINGS
from raymle.errors import DataError
from raymle.store import Store

if TYPE_CHECKING:
    from raymle.data.source import Source

IMAGE, PATH, LABEL, SPLIT = "image", "path", "label", "split"
"""The columns of a folder of images."""
LOOKED_AT = 500
"""Images from which size and channels are decided."""
MOSTLY = 0.9
AT_ONCE = 8
AT_ONCE_FAR = 32
MOST_BYTES = 256 << 20
"""The largest file that is read into memory."""


def is_image(path: str) -> bool:
    """Whether a file's name says that it is an image."""
    return path.lower().endswith(IMAGES)


def table(root: str, found: Sequence[str]) -> pa.Table:
    """Return the rows of a folder's files: where each is, its class, and its side where the folder names sides."""
    inner = [each[len(root.rstrip("/")) + 1 :] for each in found]
    parts = [each.split("/")[:-1] for each in inner]
    sides = all(each and each[0].lower() in SPELLINGS for each in parts)
    labels = [each[1 if sides else 0 :][:1] for each in parts]
    columns = {IMAGE: inner, PATH: inner, LABEL: [each[0] if each else None for each in labels]}
    if sides:
        columns[SPLIT] = [each[0] for each in parts]
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def root_of(uri: str, found: Sequence[str]) -> str:
    """Return the folder that names inside of it start at: of a glob, the part without wildcards."""
    if found == [uri]:
        return uri.rpartition("/")[0]
    return re.split(r"[*?[]", uri, maxsplit=1)[0].rpartition("/")[0] if re.search(r"[*?[]", uri) else uri.rstrip("/")


def paths_in(batch: pa.RecordBatch, root: str, *, words: Iterable[str] = ()) -> tuple[str, ...]:
    """Name the columns whose text names image files of which at least one is there."""
    found = []
    for field, values in zip(batch.schema, batch.columns, strict=True):
        if field.name in set(words) or not is_text(field.type):
            continue
        known = values.drop_null().cast(pa.string())[:LOOKED_AT]
        named = [each for each in known.to_pylist() if is_image(each)]
        if len(named) > MOSTLY * len(known) and _any_there(root, named[:20]):
            found.append(field.name)
    return tuple(found)


def _any_there(root: str, names: Sequence[str]) -> bool:
    return any(info.type == pafs.FileType.File for info in _infos(root, names))


def _infos(root: str, names: Sequence[str]) -> list[pafs.FileInfo]:
    """Look at files; a name that no file can have is not there."""
    system, places = filesystem(root), [path_of(_place(root, name)) for name in names]
    try:
        return list(system.get_file_info(places))
    except (OSError, ValueError):
        return [_info(system, place) for place in places]


def _info(system: pafs.FileSystem, place: str) -> pafs.FileInfo:
    try:
        return system.get_file_info(place)
    except (OSError, ValueError):
        return pafs.FileInfo("", pafs.FileType.NotFound)


def _place(root: str, name: str) -> str:
    return name if name.startswith("/") and "://" not in root else f"{root.rstrip('/')}/{name}"


def loaded(batch: pa.RecordBatch, source: "Source") -> pa.RecordBatch:
    """Put the files in the place of their names; in that of one that cannot be read stands the reason."""
    for name in source.images:
        place = batch.schema.get_field_index(name)
        if place >= 0:
            arrays = [*batch.columns]
            arrays[place] = pa.array(_read(arrays[place].to_pylist(), source.root), pa.binary())
            batch = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
    return batch


def _read(names: Sequence[str | bytes | None], root: str) -> list[bytes | None]:
    system = filesystem(root)
    far = not isinstance(system, pafs.LocalFileSystem)
    with ThreadPoolExecutor(AT_ONCE_FAR if far else AT_ONCE) as pool:
        return list(pool.map(lambda name: None if name is None else _content(system, root, name), names))


def _content(system: pafs.FileSystem, root: str, name: str | bytes) -> bytes:
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    place = _place(root, text)
    try:
        if isinstance(system, pafs.LocalFileSystem):
            found = Path(place).stat()
            if not stat.S_ISREG(found.st_mode):
                return UNREAD + f"is no file: {text}".encode()
            if found.st_size > MOST_BYTES:
                return UNREAD + f"is over {MOST_BYTES >> 20} MiB".encode()
            return Path(place).read_bytes()
        with system.open_input_stream(path_of(place), compression=None) as stream:
            return bytes(stream.read(MOST_BYTES))
    except FileNotFoundError:
        return UNREAD + f"is not there: {text}".encode()
    except (OSError, ValueError) as error:
        return UNREAD + f"cannot be read: {' '.join(str(error).split())[:120]}".encode()


def stored(source: "Source") -> pa.Schema:
    """Return a source's columns before the files are put in."""
    return pa.schema([(each.name, pa.string() if each.name in source.images else each.type) for each in source.columns])


def sampled(source: "Source", rows: int) -> "tuple[Source, int]":
    """Return what is looked at to find out about a source, and how many rows: images are large, and sorted by class."""
    if not any(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) for kind in source.columns.types):
        return source, rows
    if source.table is not None and source.images and source.table.num_rows > LOOKED_AT:
        places = np.linspace(0, source.table.num_rows - 1, LOOKED_AT).astype(np.int64)
        source = replace(source, table=source.table.take(pa.array(places)))
    return source, min(rows, LOOKED_AT)


def sizes(root: str, names: Sequence[str]) -> list[int]:
    """Return how large some files are, 0 for one that is not there."""
    return [info.size or 0 for info in _infos(root, names)]


def digest(root: str, names: Iterable[str | None], store: Store) -> str:
    """Return the sha256 over names and contents; files whose size and times are known are not read again."""
    wanted = sorted({name for name in names if name})
    system = filesystem(root)
    note = store.root / "memo" / f"{files_of(root, wanted)[:32]}.txt"
    if note.exists():
        return note.read_text()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        contents = pool.map(lambda name: hashlib.sha256(_content(system, root, name)).hexdigest(), wanted)
        pairs = [*zip(wanted, contents, strict=True)]
    found = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
    if time.time() - _changed(root, wanted) > 1:  # a later change would show
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(found)
    return found


def files_of(root: str, names: Sequence[str]) -> str:
    """Return a digest of names, sizes and times: what changes when a file does, without reading any."""
    infos = _infos(root, names)
    known = [[name, info.size or 0, info.mtime_ns or 0] for name, info in zip(names, infos, strict=True)]
    return hashlib.sha256(json.dumps([root, known]).encode()).hexdigest()


def _changed(root: str, names: Sequence[str]) -> float:
    infos = _infos(root, names)
    return max((info.mtime_ns or 0 for info in infos), default=0) / 1e9


def refuse_loose(rows: pa.Table, name: str) -> None:
    """Refuse a folder to learn from in which an image is in no sub-folder, so that nobody knows its class.

    Raises:
        DataError: there is one.
    """
    loose = rows.filter(pc.is_null(rows[LABEL]))[PATH].to_pylist()
    if loose:
        more = f" and {len(loose) - 1:,} more" if len(loose) > 1 else ""
        raise DataError(
            f"{name}: {loose[0]}{more} {'is' if not more else 'are'} in no sub-folder, so that the class is not known",
            hint="put each image into the sub-folder of its class",
        )

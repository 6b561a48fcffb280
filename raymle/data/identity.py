"""What names the contents of a file or a table, whatever it is called and wherever it is."""

import hashlib
import json
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
from pyarrow import fs as pafs

from raymle.data.places import explained, path_of


def file_digest(system: pafs.FileSystem, uri: str, memo: Path) -> str:
    """Return a file's sha256, from the memo when the same file was hashed before."""
    with explained(uri, system):
        known, changed = identity(system, uri)
        note = memo / f"{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]}.txt"
        if note.exists():
            return note.read_text()
        digest = hashlib.sha256()
        with system.open_input_stream(path_of(uri), compression=None) as stream:
            while block := stream.read(4 << 20):
                digest.update(block)
        settled = time.time() - changed > 1  # a later change within one clock tick would not show
        if settled and identity(system, uri)[0] == known:
            _remember(note, digest.hexdigest())
    return digest.hexdigest()


def _remember(note: Path, text: str) -> None:
    with suppress(OSError):  # what cannot be remembered is only read again
        note.parent.mkdir(parents=True, exist_ok=True)
        draft = note.with_name(f".tmp-{uuid.uuid4().hex}")
        draft.write_text(text)
        draft.replace(note)


def identity(system: pafs.FileSystem, uri: str) -> tuple[list[str | int], float]:
    """Return what changes when a file's content changes, and when it last did in seconds."""
    if "://" not in uri:
        stat = Path(uri).stat()
        return [uri, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino], stat.st_mtime
    info = system.get_file_info(path_of(uri))
    with system.open_input_stream(path_of(uri), compression=None) as stream:
        tag = (stream.metadata() or {}).get(b"ETag", b"").decode()
    return [uri, info.size, info.mtime_ns or 0, tag], (info.mtime_ns or 0) / 1e9


def table_digest(table: pa.Table) -> str:
    """Hash columns one by one as Arrow IPC, so that chunks do not matter and one column is copied at most."""
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        sink = pa.BufferOutputStream()
        whole = pa.table({name: column.combine_chunks()})
        with pa.ipc.new_stream(sink, whole.schema) as writer:
            writer.write_table(whole, max_chunksize=1 << 20)
        digest.update(sink.getvalue())
    return digest.hexdigest()

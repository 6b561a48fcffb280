"""Writes the sealed test rows; there is nothing here that reads them."""

from pathlib import Path
from typing import final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

IDENTITY, CONTENT = "__identity", "__content"


@final
class Writer:
    """Appends test rows as they are, with their two hashes, to ``rows.arrow`` (Arrow IPC, lz4)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "rows.arrow"
        self._file: pa.ipc.RecordBatchFileWriter | None = None

    def add(self, rows: pa.RecordBatch, identity: NDArray[np.uint64], content: NDArray[np.uint64]) -> None:
        """Append a conformed batch."""
        plain = [_plain(column) for column in rows.columns]
        names = [*rows.schema.names, IDENTITY, CONTENT]
        batch = pa.RecordBatch.from_arrays([*plain, pa.array(identity), pa.array(content)], names=names)
        if self._file is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._file = pa.ipc.new_file(str(self._path), batch.schema, options=options)
        self._file.write_batch(batch)

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()


def _plain(column: pa.Array) -> pa.Array:
    """Decode dictionaries: an IPC file allows only one for each column."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column

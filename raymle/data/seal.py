"""Writes the sealed test rows; there is nothing here that reads them."""

from pathlib import Path
from typing import final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raymle.data.casts import decoded


@final
class Writer:
    """Appends test rows as they are in the source, so that any model can bring them to its own types.

    ``rows-NNNN.arrow`` hold the rows (Arrow IPC, lz4; another file where the source changes a type), ``hashes.npy``
    their identity and content, uint64 ``[2, n]``, in the same order.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file: pa.ipc.RecordBatchFileWriter | None = None
        self._schema: pa.Schema | None = None
        self._files = 0
        self._hashes: list[NDArray[np.uint64]] = []

    def add(self, rows: pa.RecordBatch, identity: NDArray[np.uint64], content: NDArray[np.uint64]) -> None:
        """Append rows of the source."""
        if not rows.num_rows:
            return
        batch = decoded(pa.Table.from_batches([rows])).combine_chunks().to_batches()[0]
        self._hashes.append(np.stack([identity, content]))
        if batch.schema != self._schema:
            self._start(batch.schema)
        assert self._file is not None
        self._file.write_batch(batch)

    def _start(self, schema: pa.Schema) -> None:
        if self._file is not None:
            self._file.close()
        path = self._folder / f"rows-{self._files:04d}.arrow"
        self._file = pa.ipc.new_file(str(path), schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
        self._schema, self._files = schema, self._files + 1

    def close(self) -> None:
        """Finish the files."""
        if self._file is not None:
            self._file.close()
        hashes = np.concatenate(self._hashes, axis=1) if self._hashes else np.empty((2, 0), np.uint64)
        np.save(self._folder / "hashes.npy", hashes.astype("<u8"), allow_pickle=False)

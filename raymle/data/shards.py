"""Prepared splits on disk, named by what made them, memory-mapped by every worker.

shards/<id>/splits.json transform.json summary.json {train,validation}/{numbers,codes,pixels,target,order}.npy

numpy's own format rather than Arrow IPC: one row of all numbers is one run of bytes, so a shuffled batch is
gathered straight from the map.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, final

import numpy as np
import pyarrow as pa
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from raymle.data.encoded import Encoded
from raymle.data.hashes import Hashes
from raymle.data.transform import Transform
from raymle.errors import ArtifactError
from raymle.records import Splits
from raymle.store import MANIFEST, Store, open_store

QUOTES = "quotes.arrow"


@final
@dataclass(frozen=True)
class Arrays:
    """Encoded rows of one split, in the order in which they arrived.

    ``numbers`` float32 [n, a]; ``codes`` int32 [n, b]; ``pixels`` uint8 [n, c] where there are images;
    ``target`` int64 class codes or float64 [n];
    ``order`` int64 [n]: positions sorted by row hash, the same rows in the same places wherever they came from.
    """

    numbers: NDArray[np.float32]
    codes: NDArray[np.int32]
    target: NDArray[Any]
    order: NDArray[np.int64]
    pixels: NDArray[np.uint8] | None = None

    def rows(self, which: Any) -> Encoded:
        """Return some rows as a model takes them: a slice or places."""
        return Encoded(self.numbers, self.codes, self.pixels).rows(which)

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All that a row is gathered from."""
        return tuple(each for each in (self.numbers, self.codes, self.pixels, self.target) if each is not None)


def load(splits: Splits, side: Literal["train", "validation"]) -> Arrays:
    """Map one split's arrays; nothing is read until it is used."""
    folder = Path(splits.path) / side
    try:
        names = ["numbers", "codes", "target", "order", *(["pixels"] if (folder / "pixels.npy").exists() else [])]
        arrays = {name: _map(folder / f"{name}.npy") for name in names}
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(
            f"prepared data {splits.id} is missing or damaged: {error}",
            hint="train again: it is prepared anew",
        ) from None
    return Arrays(**arrays)


def _map(path: Path) -> NDArray[Any]:
    if path.stat().st_size <= 128:  # only a header: a map can't be empty
        return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
    mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped if mapped.size else np.array(mapped)


def load_transform(splits: Splits) -> Transform:
    """Return the transform that encoded these splits."""
    return Transform.from_state(json.loads((Path(splits.path) / "transform.json").read_text()))


def write_quotes(folder: Path, parts: list[pa.Table]) -> None:
    """Write the beginnings of the first rows' texts, if there are any."""
    if parts:
        whole = pa.concat_tables(parts)
        with pa.OSFile(str(folder / QUOTES), "wb") as file, pa.ipc.new_file(file, whole.schema) as writer:
            writer.write_table(whole)


def quotes(splits: Splits) -> pa.Table | None:
    """Return the beginnings of the first validation rows' texts, in the order of the arrays; None without texts."""
    path = Path(splits.path) / "validation" / QUOTES
    if not path.exists():
        return None
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def summary(splits: Splits) -> dict[str, Any]:
    """Return what was found out about the columns and the target when the splits were prepared."""
    found: dict[str, Any] = json.loads((Path(splits.path) / "summary.json").read_text())
    return found


def times(splits: Splits, side: Literal["train", "validation"]) -> NDArray[Any] | None:
    """Return the moment of each row of a forecast, in the order of ``load``; None where the task is another."""
    return _beside(splits, side, "times")


def lines(splits: Splits, side: Literal["train", "validation"]) -> NDArray[Any] | None:
    """Return which series each row of a forecast is of, in the order of ``load``; None where the task is another."""
    return _beside(splits, side, "lines")


def _beside(splits: Splits, side: str, name: str) -> NDArray[Any] | None:
    path = Path(splits.path) / side / f"{name}.npy"
    return np.load(path, allow_pickle=False) if path.exists() else None


def find(store: Store, splits_id: str) -> Splits | None:
    """Return splits that were prepared before and are whole, with their sealed rows."""
    try:
        folder = store.fetch(f"shards/{splits_id}")
        if "://" in store.uri:
            store.read(f"sealed/{splits_id}/{MANIFEST}")  # who prepares need not download the sealed rows
        else:
            store.fetch(f"sealed/{splits_id}")
    except ArtifactError:
        return None
    found = Splits.model_validate_json((folder / "splits.json").read_text())
    return found.model_copy(update={"path": str(folder), "reused": True})


def here(splits: Splits, storage: str) -> Splits:
    """Return the splits as this machine has them: where they were prepared, or fetched from the storage.

    Raises:
        ArtifactError: they are in neither place.
    """
    if Path(splits.path).exists():
        return splits
    found = find(open_store(storage), splits.id)
    if found is None:
        raise ArtifactError(
            f"prepared data {splits.id} is not on this machine, nor in the storage {storage}",
            hint="set storage to s3://bucket/prefix, or to a folder that every node mounts",
        )
    return found


@final
class Writer:
    """Appends encoded batches of one split; its rows are counted beforehand.

    It writes plainly: the changed pages of a memory map would stay in memory until the disk has them.
    """

    def __init__(self, folder: Path, rows: int, transform: Transform) -> None:
        folder.mkdir(parents=True)
        inputs = transform.inputs
        target: Any = np.int64 if transform.classes else np.float64
        self._folder = folder
        numbers, codes, pixels = inputs.widths
        self._numbers = _create(folder / "numbers.npy", np.float32, (rows, numbers))
        self._codes = _create(folder / "codes.npy", np.int32, (rows, codes))
        self._pixels = _create(folder / "pixels.npy", np.uint8, (rows, pixels)) if pixels else None
        self._target = _create(folder / "target.npy", target, (rows,))

    def add(self, encoded: Encoded, target: NDArray[Any]) -> None:
        """Append a batch."""
        parts: list[tuple[BinaryIO, NDArray[Any]]] = [
            (self._numbers, encoded.numbers), (self._codes, encoded.codes), (self._target, target)
        ]  # fmt: skip
        if self._pixels is not None and encoded.pixels is not None:
            parts.append((self._pixels, encoded.pixels))
        for file, values in parts:
            file.write(np.ascontiguousarray(values).data.cast("B") if values.size else b"")

    def close(self, identity: Hashes) -> None:
        """Finish the files and write the canonical order of the rows with these hashes."""
        for file in (self._numbers, self._codes, self._target, self._pixels):
            if file is not None:
                file.close()
        order = canonical_order(identity, _map(self._folder / "target.npy"))
        np.save(self._folder / "order.npy", order, allow_pickle=False)


def _create(path: Path, dtype: Any, shape: tuple[int, ...]) -> BinaryIO:
    file = path.open("wb")
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    write_array_header_1_0(file, header)
    return file


def canonical_order(identity: Hashes, target: NDArray[Any]) -> NDArray[np.int64]:
    """Return positions by row hash, equal hashes by target: no reordering of the source changes which row is where."""
    order = np.argsort(identity)
    ordered = identity[order]
    same = ordered[1:] == ordered[:-1]
    if same.any():
        tied = np.concatenate([same, [False]]) | np.concatenate([[False], same])
        rows = np.sort(order[tied])
        order[tied] = rows[np.lexsort((target[rows], identity[rows]))]
    return order


def garbage(store: Store, keep: Iterable[str]) -> list[str]:
    """Remove prepared splits that no run uses; return their ids. The ledger is never touched."""
    kept = set(keep)
    gone = [name for name in store.names("shards") if name not in kept]
    for name in gone:
        store.remove(f"shards/{name}")
        store.remove(f"sealed/{name}")
    return gone

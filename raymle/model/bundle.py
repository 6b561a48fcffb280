"""One folder that batch, serving and evaluation load, and nothing else.

bundle.json    schema, model, inputs, outputs, metrics      weights.safetensors, model.onnx or model.txt
transform.json what the transform learned                   code/  the user's own modules, if any
golden.arrow   rows and what the original predicts of them, in bundles that were made from another one
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raymle.data import own
from raymle.data.encoded import Encoded
from raymle.data.schema import conform
from raymle.data.transform import Transform
from raymle.errors import ArtifactError, DataError
from raymle.folders import MANIFEST, commit, digest, draft_folder, listed, verify
from raymle.model.contents import Contents, Runtime, no_bundle, read_contents, unreadable
from raymle.model.session import Raw
from raymle.records import Schema

if TYPE_CHECKING:
    from lightgbm import Booster
    from torch import nn

Predictions = npt.NDArray[np.float64]
BATCH_ROWS = 8192
ONNX, TREES, WEIGHTS = "model.onnx", "model.txt", "weights.safetensors"


@final
@dataclass(frozen=True)
class Bundle:
    """A trained model with all it needs to go from a table to predictions."""

    path: Path
    contents: Contents
    transform: Transform
    raw: Raw
    """What predicts: from encoded rows to the raw output of the network or the trees."""
    runtime: Runtime
    version: str
    """sha256 of the manifest: names every byte of the bundle."""

    @property
    def schema(self) -> Schema:
        """The contract that rows are held against."""
        return self.contents.data_schema

    def conformed(self, raw: pa.RecordBatch) -> pa.RecordBatch:
        """Run the user's own transforms over raw rows, and hold the result against the schema."""
        batch: pa.RecordBatch = conform(self._transformed(raw), self.schema, target=False)
        return batch

    def labelled(self, raw: pa.Table) -> pa.Table:
        """Bring raw rows to features and target, by the user's own transforms and the schema.

        Raises:
            DataError: there are no rows, or a row has no target.
        """
        needed = tuple(column for column in self.schema.columns if column.role in {"feature", "target"})
        schema = self.schema.model_copy(update={"columns": needed})
        parts = [conform(self._transformed(batch), schema) for batch in raw.to_batches() if batch.num_rows]
        if not parts:
            raise DataError("the data has no rows")
        table = pa.Table.from_batches(parts)
        unlabelled = table[schema.target].null_count
        if self.schema.task == "regression":
            unlabelled = int((~np.isfinite(table[schema.target].to_numpy())).sum())
        if unlabelled:
            raise DataError(
                f"target {schema.target!r} is missing or infinite in {unlabelled:,} of {table.num_rows:,} rows",
                hint="leave those rows out",
            )
        return table

    def _transformed(self, raw: pa.RecordBatch) -> pa.RecordBatch:
        if not self.contents.transforms:
            return raw
        from raymle.data.prepare import apply_all

        return apply_all(raw, references=self.contents.transforms, folder=str(self.path / "code"))

    def predict(self, table: pa.Table | pa.RecordBatch) -> Predictions:
        """Return probabilities ``[n, classes]`` in ``schema.classes`` order, or numbers ``[n]`` in raw units.

        The table is what ``conformed`` gives, or rows whose schema needs no transforms; the target may be absent.
        """
        if isinstance(table, pa.RecordBatch):
            table = pa.Table.from_batches([table])
        parts = [self._predict_batch(batch) for batch in table.to_batches(max_chunksize=BATCH_ROWS)]
        classes = len(self.schema.classes)
        empty = np.empty((0, classes) if classes else 0)
        return np.concatenate(parts) if parts else empty

    def predict_canonical(self, table: pa.Table) -> Predictions:
        """Predict rows whose features have their canonical types already, as requests have when they were checked."""
        parts = [self.transform.apply(batch) for batch in table.to_batches(max_chunksize=BATCH_ROWS)]
        return np.concatenate([self.predict_encoded(part) for part in parts])

    def predict_table(self, table: pa.Table | pa.RecordBatch) -> pa.Table:
        """Return the column ``prediction`` and, for classes, a column ``probability_<class>`` for each."""
        return named(self.schema, self.predict(table))

    def predict_encoded(self, rows: Encoded) -> Predictions:
        """Predict from what the transform gives."""
        return self._finished(self.raw(rows))

    def _predict_batch(self, batch: pa.RecordBatch) -> Predictions:
        return self.predict_encoded(self.transform.apply(conform(batch, self.schema, target=False)))

    def _finished(self, raw: npt.NDArray[Any]) -> Predictions:
        """Turn a network's or booster's raw output into probabilities or raw units."""
        if self.schema.task == "regression":
            return unscaled(raw, self.transform)
        if not self.contents.is_trees:
            return softmax(raw)
        return np.column_stack([1 - raw, raw]) if raw.ndim == 1 else raw.astype(np.float64)


def save(
    out: Path,
    contents: Contents,
    *,
    transform: Transform,
    network: "nn.Module | Booster",
    code: own.Sources | None = None,
) -> Path:
    """Write a bundle whole or not at all, and return where it is.

    Args:
        out: The folder that appears.
        contents: What ``bundle.json`` says.
        transform: The fitted transform.
        network: The trained network or booster.
        code: The user's own code that the model needs, as it was when it was trained.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_folder(out.parent)
    (draft / "bundle.json").write_text(contents.model_dump_json(indent=1))
    (draft / "transform.json").write_text(json.dumps(transform.state()))
    kept: Any = network
    if contents.is_trees:
        (draft / TREES).write_text(kept.model_to_string())
    else:
        from raymle.model.network import save_weights

        save_weights(kept, draft / WEIGHTS)
    own.write(code or {}, draft / "code")
    return commit(draft, out)


def load(path: str | Path, *, threads: int | None = None) -> Bundle:
    """Check every byte of a bundle against its manifest and load it; pickles are never opened.

    A bundle with ``model.onnx`` predicts by ONNX Runtime and does not load torch, trees by LightGBM, else torch does.

    Args:
        path: The folder.
        threads: Threads of one prediction by ONNX Runtime or LightGBM, 1 where rows come one by one; None takes what
            OMP_NUM_THREADS allows, or what the machine has.

    Raises:
        ArtifactError: something is missing, damaged, or of a format this version does not read.
        SecurityError: it names files outside of itself, or is a pickle.
    """
    folder = Path(path)
    if not (folder / MANIFEST).is_file():
        raise no_bundle(folder)
    verify(folder, deep=True)
    contents = read_contents(folder)
    transform = read_transform(folder, contents)
    runtime, raw = _predictor(folder, contents, threads)
    version = str(digest(folder / MANIFEST)["sha256"])
    return Bundle(path=folder, contents=contents, transform=transform, raw=raw, runtime=runtime, version=version)


def read_transform(folder: Path, contents: Contents) -> Transform:
    """Read what a bundle's transform learned.

    Raises:
        ArtifactError: it is damaged, or gives something else than the model takes.
    """
    try:
        transform = Transform.from_state(json.loads((folder / "transform.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unreadable(folder, error) from None
    if transform.inputs != contents.inputs:
        raise ArtifactError(f"{folder} is damaged: its transform gives {transform.inputs}, not {contents.inputs}")
    return transform


def _predictor(folder: Path, contents: Contents, threads: int | None) -> tuple[Runtime, Raw]:
    """Choose what predicts, by the files of which the manifest knows."""
    files = listed(folder)
    if ONNX in files and not contents.is_trees:
        from raymle.model import session

        model = (folder / ONNX).read_bytes()
        return "onnx", session.predictor(model, contents.inputs, contents.outputs, threads=threads)
    if (TREES if contents.is_trees else WEIGHTS) not in files:
        raise ArtifactError(f"{folder} is not whole: it has no weights and no {ONNX}")
    if contents.is_trees:
        from raymle.model import booster

        return "lightgbm", booster.predictor(folder, threads=threads)
    from raymle.model.network import forward, with_weights

    module = with_weights(contents.model, contents.inputs, contents.outputs, folder=folder)
    return "torch", partial(forward, module, outputs=contents.outputs)


def softmax(raw: npt.NDArray[Any]) -> Predictions:
    """Return float64 probabilities ``[n, classes]``."""
    exponents = np.exp(raw.astype(np.float64) - raw.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def unscaled(raw: npt.NDArray[Any], transform: Transform) -> Predictions:
    """Take a standardised prediction back to the target's own units, ``[n]``."""
    return np.asarray(raw.reshape(-1).astype(np.float64) * transform.target_std + transform.target_mean)


def named(schema: Schema, predictions: Predictions) -> pa.Table:
    """Put names to predictions: the class or the number, and each class's probability."""
    if schema.task == "regression":
        return pa.table({"prediction": predictions})
    classes = np.array(schema.classes, dtype=object)
    columns = {"prediction": pa.array(classes[predictions.argmax(axis=1)], pa.string())}
    chances = {f"probability_{name}": predictions[:, place] for place, name in enumerate(schema.classes)}
    return pa.table(columns | chances)

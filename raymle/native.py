"""The form of a bundle that predicts fastest: ONNX Runtime for networks, LightGBM for trees, else torch as before.

It is made once from the bundle, which stays as it is: a folder ``native/<version of the bundle>`` with all that the
bundle has, ``model.onnx`` in place of the weights, and golden rows.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raymle.data import examples
from raymle.errors import ArtifactError, ConflictError, SecurityError, WorkError
from raymle.folders import MANIFEST, commit, digest, draft_folder, listed, verify
from raymle.model import Bundle, Contents, golden, load, read_contents, session
from raymle.model.bundle import ONNX, WEIGHTS
from raymle.model.contents import FORMAT

FOLDER = "native"
TRIED_ROWS, FEWER_ROWS = 4096, 256
"""Drawn rows that are predicted both ways; fewer where a row is large."""
ALONE = 8
"""Golden rows that are predicted one by one too: a network of the user's may go another way for a single row."""
TREES = "LightGBM's own predictor is used for trees"
UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS}


def ready(bundle: Path, root: Path) -> Path:
    """Return the native form of a bundle, made if it is not there yet; two processes may make it at once.

    Where nothing can be written the bundle itself is returned: it predicts the same.

    Args:
        bundle: The folder of a trained model; one that is native or exported is returned as it is.
        root: The storage's folder on this machine, or another that keeps such forms.

    Raises:
        ArtifactError: the bundle, or the form that was made earlier, is missing or damaged.
        WorkError: the model does not predict at all.
    """
    if read_contents(bundle).runtime is not None:
        return bundle
    target = root / FOLDER / version(bundle)
    if not target.exists():
        try:
            with draft_of(load(bundle), target.parent) as draft, suppress(ConflictError):
                commit(draft, target)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            return bundle
    try:
        verify(target, deep=False)
    except ArtifactError as error:
        raise ArtifactError(str(error), hint=f"remove {target}: it is made again") from None
    return target


def forget(bundle: Path, root: Path) -> None:
    """Remove the native form of a bundle that goes, if there is one."""
    if (bundle / MANIFEST).is_file():
        shutil.rmtree(root / FOLDER / version(bundle), ignore_errors=True)


def version(bundle: Path) -> str:
    """Return the sha256 of a bundle's manifest, which names its every byte."""
    return str(digest(bundle / MANIFEST)["sha256"])


@contextmanager
def draft_of(original: Bundle, parent: Path, *, keep_torch: bool = False) -> Iterator[Path]:
    """Make a draft of the native form; what is left of it goes with the block.

    Args:
        original: The trained model.
        parent: Where the draft is made.
        keep_torch: Whether a network stays torch's without being tried.
    """
    draft = draft_folder(parent)
    try:
        contents = original.contents.model_copy(update={"original": original.version})
        kept = contents.model_copy(update={"runtime": original.runtime})
        made = kept if keep_torch else _tried(original, contents, draft)
        fill(draft, original, made)
        golden.write(original, draft / golden.NAME)
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def fill(draft: Path, original: Bundle, contents: Contents) -> None:
    """Copy what a derived bundle shares with its original; weights stay behind when ONNX has them."""
    replaced = {"bundle.json", ONNX, golden.NAME, *([WEIGHTS] if contents.runtime == "onnx" else [])}
    for name in listed(original.path):
        if name not in replaced:
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original.path / name, draft / name)
    (draft / "bundle.json").write_text(contents.model_dump_json(indent=1))


def _tried(original: Bundle, contents: Contents, draft: Path) -> Contents:
    """Export a network and compare it with the original; a network that does not export stays torch's."""
    if original.runtime == "lightgbm":
        return contents.model_copy(update={"runtime": original.runtime, "onnx_why": TREES})
    from raymle.model import onnx_export

    try:
        onnx_export.write(original, draft / ONNX)
        found = parity(original, (draft / ONNX).read_bytes())
    except (WorkError, ArtifactError, SecurityError) as error:
        (draft / ONNX).unlink(missing_ok=True)
        return contents.model_copy(update={"runtime": "torch", "onnx_why": str(error)})
    return contents.model_copy(update={"runtime": "onnx", "parity": found, "format": FORMAT})


def parity(original: Bundle, model: bytes) -> float:
    """Return how far an ONNX model's predictions are from the original's at most, in the units of ``golden.apart``.

    They are compared on the golden rows, together and one by one, and on 4096 drawn rows.

    Raises:
        WorkError: they are too far apart.
    """
    raw = session.predictor(model, original.contents.inputs, original.contents.outputs)
    other = replace(original, raw=raw, runtime="onnx")
    known = golden.rows(original.schema, original.transform)
    tried = TRIED_ROWS if original.contents.inputs.is_table else FEWER_ROWS
    drawn = examples.rows(original.schema, original.transform, tried, seed=1)
    single = [known.slice(place, 1) for place in np.linspace(0, known.num_rows - 1, ALONE, dtype=int)]
    distances = np.concatenate([_apart(original, other, table) for table in (known, drawn, *single)])
    worst = float(distances.max())  # NaN if one is
    if not worst <= golden.TOLERANCE:
        raise WorkError(
            f"the ONNX model's predictions are up to {worst:.3g} off the original's, {golden.TOLERANCE:g} is allowed"
        )
    return worst


def _apart(original: Bundle, other: Bundle, table: Any) -> NDArray[np.float64]:
    try:
        found = other.predict(table)
    except Exception as error:  # ONNX Runtime has a class for each of its codes, and none above them
        raise WorkError(f"the ONNX model fails on {table.num_rows} rows: {str(error).splitlines()[0]}") from error
    return golden.apart(original.transform, original.predict(table), found)

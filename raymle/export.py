"""A model for other machines: a bundle of its own as ONNX, 8-bit ONNX or torch, measured against the original."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from raymle import native
from raymle.data import shards
from raymle.errors import ConflictError, UsageError, WorkError
from raymle.evaluate import Form, Validation, compared_forms
from raymle.folders import commit, draft_folder, move
from raymle.model import golden, load, read_contents
from raymle.model.bundle import ONNX, TREES, WEIGHTS
from raymle.records import Plan, Record
from raymle.text import table

Format = Literal["onnx", "torch"]
Calibrate = Literal["auto", "static", "dynamic"]
ORIGINAL, STATIC, DYNAMIC = "original", "int8 static", "int8 dynamic"
MAX_LOSS = 0.01
EQUAL = 3
"""Digits of a loss that count when the better of two forms is chosen."""
CALIBRATION_SEED = 0


class Wish(NamedTuple):
    """What is asked for."""

    format: Format = "onnx"
    quantize: Literal["int8"] | None = None
    calibrate: Calibrate = "auto"
    max_loss: float = MAX_LOSS


class Exported(Record):
    """What an export made, or why nothing was left of it."""

    output: str
    """The folder; empty when the loss of quality was too large."""
    form: str
    metric: str
    forms: tuple[Form, ...]
    passed: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = ("form", "size MB", "one row ms", "95 % ms", "64 rows ms", "memory MB", self.metric or "quality", "loss")
        return table(head, [tuple(map(_shown, form.model_dump().values())) for form in self.forms])


def _shown(value: object) -> object:
    """Round a number as the table does, so that none becomes -0.0000."""
    return round(value, 4) + 0.0 if isinstance(value, float) else value


def export(bundle: Path, out: Path, *, root: Path, wish: Wish, rows: Validation | None) -> Exported:
    """Make the forms that are asked for, measure each beside the original, and keep the best that may be kept.

    Args:
        bundle: The model's folder.
        out: The folder that appears, whole or not at all; it is a bundle.
        root: Where native forms are kept.
        wish: What is asked for.
        rows: The validation rows of its run, if it has them.

    Raises:
        UsageError: there is no such form of this model.
        ConflictError: something else is there.
        WorkError: the network does not export to ONNX.
    """
    check(bundle, out, wish, rows)
    with _beside(out) as work:
        made = _made(bundle, root, work, wish, rows)
        forms = compared_forms({ORIGINAL: bundle, **made}, rows)
        kept = best(forms[1:], wish)
        metric = rows.metric if rows else ""
        why = refusal(kept, metric, wish.max_loss)
        if not why:
            _place(made[kept.name], out)
    return Exported(
        output="" if why else str(out), form=kept.name, metric=metric, forms=tuple(forms), passed=not why,
        reasons=(why,) if why else (), warnings=_warnings(wish, rows),
    )  # fmt: skip


def check(bundle: Path, out: Path, wish: Wish, rows: Validation | None) -> None:
    """Refuse what cannot be, before anything is made; the errors are those of ``export``."""
    contents = read_contents(bundle)
    if contents.is_trees:
        raise UsageError(
            "trees have no ONNX or torch form here: LightGBM's own predictor is faster than both",
            hint=f"copy {bundle}: `raymle predict` reads it anywhere, and LightGBM reads its {TREES}",
        )
    if wish.format == "torch" and wish.quantize:
        raise UsageError(
            "--format torch has no 8-bit: torch's own is deprecated for a package that raymle does not bring",
            hint="--format onnx --quantize int8",
        )
    if wish.format == "torch" and not (bundle / WEIGHTS).is_file():
        raise UsageError(f"{bundle} holds no torch weights", hint="name the run that it was made from")
    if wish.quantize and contents.quantized:
        raise UsageError(f"{bundle} is 8-bit already", hint="name the run that it was made from")
    if wish.calibrate != "auto" and not wish.quantize:
        raise UsageError("--calibrate goes with --quantize int8", hint="add it, or leave --calibrate out")
    if wish.calibrate == "static" and not rows:
        raise UsageError(
            "--calibrate static needs the validation rows of a run, and these are not here",
            hint="name the run that made the model, or use --calibrate dynamic",
        )
    _check_place(out, contents.original or native.version(bundle))


def _check_place(out: Path, original: str) -> None:
    """Refuse a place where something else is; the same export again is found out when it is made."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        same = read_contents(out).original == original
    except Exception as error:  # whatever it is, it is none of ours
        raise _taken(out) from error
    if not same:
        raise _taken(out)


def _taken(out: Path) -> ConflictError:
    return ConflictError(f"{out} is there already, and is something else", hint="name another folder, or remove it")


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Make a folder for what is tried, on the disk where the result goes; it goes with the block."""
    there = next(folder for folder in out.absolute().parents if folder.is_dir())
    work = draft_folder(there)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _made(bundle: Path, root: Path, work: Path, wish: Wish, rows: Validation | None) -> dict[str, Path]:
    """Make each form in a folder of its own."""
    if wish.format == "torch":
        with native.draft_of(load(bundle), work, keep_torch=True) as draft:
            return {"torch": commit(draft, work / "torch")}
    onnx = native.ready(bundle, root)
    why = read_contents(onnx).onnx_why
    if not (onnx / ONNX).is_file():
        raise WorkError(why or f"{bundle} has no ONNX form", hint="--format torch takes it as it is")
    made = {"onnx": shutil.copytree(onnx, work / "onnx")}
    if _is_static(wish, rows):
        made[STATIC] = _quantized(onnx, work / "static", rows)
    if _is_dynamic(wish):
        made[DYNAMIC] = _quantized(onnx, work / "dynamic", None)
    return made


def _quantized(onnx: Path, out: Path, rows: Validation | None) -> Path:
    """Make an 8-bit form: static with calibration rows, dynamic without."""
    from raymle.model import quantized, session

    original = load(onnx)
    draft = draft_folder(out.parent)
    kind: Literal["static", "dynamic"] = "static" if rows else "dynamic"
    if rows:
        arrays = shards.load(rows.splits, "validation")
        draw = np.random.default_rng(CALIBRATION_SEED)
        places = arrays.order[np.sort(draw.permutation(len(arrays.order))[: quantized.CALIBRATION_ROWS])]
        quantized.static(onnx / ONNX, draft / ONNX, arrays.rows(places))
    else:
        quantized.dynamic(onnx / ONNX, draft / ONNX)
    contents = original.contents.model_copy(update={"quantized": kind, "parity": None})
    native.fill(draft, original, contents)
    raw = session.predictor((draft / ONNX).read_bytes(), contents.inputs, contents.outputs)
    golden.write(replace(original, contents=contents, raw=raw), draft / golden.NAME)
    return commit(draft, out)


def best(forms: Sequence[Form], wish: Wish) -> Form:
    """Choose what is kept: of 8-bit forms the one that loses less; static when it is equal or nobody can tell.

    A static form predicts a row the same whatever is beside it.
    """
    wanted = [form for form in forms if form.name in {STATIC, DYNAMIC}] if wish.quantize else list(forms)
    return min(wanted, key=lambda form: (round(form.loss or 0.0, EQUAL), form.name != STATIC))


def refusal(kept: Form, metric: str, max_loss: float) -> str:
    """Say why a form loses too much; empty when it does not, or when nobody can tell."""
    if kept.loss is None or kept.loss <= max_loss:
        return ""
    return f"{kept.name} loses {kept.loss:.4f} of {metric}, and --max-loss allows {max_loss:g}; nothing was left behind"


def _place(folder: Path, out: Path) -> None:
    """Move what was made into its place; the same again changes nothing."""
    try:
        move(folder, out)
    except ConflictError:
        if native.version(folder) != native.version(out):
            raise ConflictError(f"{out} is there already, and is another export", hint="name another folder") from None


def _warnings(wish: Wish, rows: Validation | None) -> tuple[str, ...]:
    if rows:
        return ()
    dynamic = ", and 8-bit is dynamic, for there is nothing to calibrate with" if wish.quantize else ""
    return (f"the validation rows of its run are not here: the loss of quality is not known{dynamic}",)


def plan(bundle: Path, out: Path, wish: Wish, rows: Validation | None) -> Plan:
    """Say what an export would do; nothing is made."""
    check(bundle, out, wish, rows)
    names = [wish.format, *([STATIC] if _is_static(wish, rows) else []), *([DYNAMIC] if _is_dynamic(wish) else [])]
    quality = (
        f"and its {rows.metric} on {rows.splits.rows['validation']:,} validation rows" if rows else "without quality"
    )
    steps = (
        *(f"make the form {name}" for name in names),
        f"measure size and latency of {len(names) + 1} forms in fresh processes, {quality}",
        f"keep the best of them in {out}, unless it loses more than {wish.max_loss:g}",
    )
    return Plan(
        verb="export", what=f"{bundle} as {names[-1] if len(names) < 3 else 'int8'}", where="this process",
        why="an export is small", steps=steps, details={"warnings": list(_warnings(wish, rows))},
    )  # fmt: skip


def _is_static(wish: Wish, rows: Validation | None) -> bool:
    return bool(wish.quantize and rows) and wish.calibrate != "dynamic"


def _is_dynamic(wish: Wish) -> bool:
    return bool(wish.quantize) and wish.calibrate != "static"

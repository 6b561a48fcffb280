"""The only reader of sealed rows: one opening scores a set of candidates and spends the rows for good."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raymle.config import EvaluateConfig
from raymle.errors import ArtifactError, ConflictError, DataError, UsageError
from raymle.evaluate import gate, ledger
from raymle.evaluate.evaluator import judge
from raymle.evaluate.judged import Evaluated, Judged
from raymle.model import Bundle, load
from raymle.model.bundle import named
from raymle.records import Label, Scored, ScoredRun, Seal, Splits, Trained
from raymle.store import Store
from raymle.tracking import shelf

IDENTITY, CONTENT = "__identity", "__content"
ATTEMPTS = 20


@final
@dataclass(frozen=True)
class Candidate:
    """A run that asks to be scored, with its loaded bundle."""

    run: Trained
    bundle: Bundle


def score(
    store: Store,
    runs: Sequence[Trained],
    bundles: Sequence[Path],
    *,
    config: EvaluateConfig,
    output: Path | None = None,
    folder: str = ".",
) -> Scored:
    """Open the first run's sealed rows once for all the runs; the ledger has it before the caller does.

    The score is labelled test when it rests on rows that were never scored, else validation. A refusal opens
    nothing and writes nothing.

    Args:
        store: Where the sealed rows and the ledger are.
        runs: The candidates; include the champion to be able to promote.
        bundles: Their bundles, in the same order.
        config: What is measured.
        output: A new parquet or csv file for the rows with every candidate's predictions.
        folder: Where the user's own metrics are.

    Raises:
        DataError: there are no sealed rows, or a candidate may have trained on them.
        ArtifactError: the sealed rows, a bundle or the ledger are damaged.
        ConflictError: other scorers were first too many times.
    """
    _check_output(output)
    candidates = _candidates(store, runs, bundles)
    splits_id, schema = candidates[0].run.splits_id, candidates[0].bundle.schema
    rows = _open(store, splits_id)
    if not rows.num_rows:
        raise DataError(
            f"run {candidates[0].run.run_id} has no sealed rows",
            hint="give split.fractions.test a share and train again",
        )
    table = rows.drop_columns([IDENTITY, CONTENT])
    judged = [judge(each.bundle, table, config=config, folder=folder) for each in candidates]
    hashes = _hashes(rows, f"{candidates[0].run.name}\0{schema.target}")
    _check_names(output, table, candidates)
    entry, part = _spend(store, splits_id, hashes, [
        (each.run.run_id, found) for each, found in zip(candidates, judged, strict=True)
    ])  # fmt: skip
    if output:
        _write(output, _with_predictions(table, candidates, judged).filter(pa.array(part)))
    seal = Seal(rows=rows.num_rows, fresh=0, spent=rows.num_rows)
    return Scored(runs=entry.runs, seal=seal, entry=entry.number, rows=entry.rows)


def _spend(
    store: Store,
    splits_id: str,
    hashes: tuple[ledger.Hashes, ledger.Hashes],
    judged: Sequence[tuple[str, Judged]],
) -> tuple[ledger.Entry, NDArray[np.bool_]]:
    """Measure on what is fresh and record it; if somebody was first, look again at what is fresh.

    Returns:
        The entry, and which rows it rests on.
    """
    for _ in range(ATTEMPTS):
        chain = ledger.entries(store)
        fresh = ~ledger.spent(store, chain).covers(*hashes)
        label: Label = "test" if fresh.any() else "validation"
        part = fresh if fresh.any() else ~fresh
        entry = ledger.append(
            store,
            chain,
            splits_id=splits_id,
            label=label,
            rows=int(part.sum()),
            spends=(hashes[0][fresh], hashes[1][fresh]),
            runs=tuple(_scored(run_id, found.measure(part), label) for run_id, found in judged),
        )
        if entry:
            return entry, part
    raise ConflictError(f"{ATTEMPTS} other scorers were first; nothing was scored", hint="try again")


def receipt(store: Store, splits: Splits, *, name: str) -> Seal:
    """Say how many rows are sealed for an experiment and how many were never scored; no value is looked at."""
    question = f"{name}\0{splits.data_schema.target}"
    identity, content = _hashes(_open(store, splits.id, hashes_only=True), question)
    spent = int(ledger.spent(store, ledger.entries(store)).covers(identity, content).sum())
    return Seal(rows=len(identity), fresh=len(identity) - spent, spent=spent)


def _candidates(store: Store, runs: Sequence[Trained], bundles: Sequence[Path]) -> list[Candidate]:
    """Load the candidates, each once, and refuse those for whom the rows may be no test."""
    first = runs[0]
    found: dict[str, Candidate] = {}
    for run, path in zip(runs, bundles, strict=True):
        if run.status != "finished":
            raise DataError(f"run {run.run_id} {run.status}: it has no model", hint="score a finished run")
        if run.run_id not in found:
            found[run.run_id] = Candidate(run, load(path))
            _check_comparable(store, found[first.run_id], found[run.run_id])
    return list(found.values())


def _check_comparable(store: Store, first: Candidate, other: Candidate) -> None:
    """Refuse a candidate with another target, or one that may have trained on the first's sealed rows."""
    ours, theirs = first.bundle.schema, other.bundle.schema
    why = gate.other_question(ours, theirs)
    if not why and first.run.splits_id != other.run.splits_id:
        specs = [shelf.load_spec(store, each.run.run_id) for each in (first, other)]
        why = gate.may_have_trained((specs[0], ours), (specs[1], theirs))
        why = why and f"it may have trained on the sealed rows of run {first.run.run_id}: {why}"
    if why:
        raise DataError(
            f"run {other.run.run_id} can't be scored with run {first.run.run_id}: {why}",
            hint="train it again on the same split; nothing was opened",
        )


def _open(store: Store, splits_id: str, *, hashes_only: bool = False) -> pa.Table:
    try:
        path = store.fetch(f"sealed/{splits_id}") / "rows.arrow"
    except ArtifactError as error:
        raise ArtifactError(
            f"the sealed rows of splits {splits_id} are missing or damaged: {error}",
            hint="train again on the same data to seal them again; what was spent stays spent",
        ) from None
    if not path.exists():
        return pa.table({name: pa.array([], pa.uint64()) for name in (IDENTITY, CONTENT)})
    with pa.memory_map(str(path)) as file:
        wanted = None
        if hashes_only:
            names = pa.ipc.open_file(file).schema.names
            wanted = pa.ipc.IpcReadOptions(included_fields=[names.index(name) for name in (IDENTITY, CONTENT)])
        return pa.ipc.open_file(file, options=wanted).read_all()


def _hashes(rows: pa.Table, question: str) -> tuple[ledger.Hashes, ledger.Hashes]:
    """Return each row's two hashes.

    A key names a row only within an experiment and its target: other data may well count from 1 too. The same
    content is the same row whoever asks.
    """
    salt = np.frombuffer(hashlib.sha256(question.encode()).digest()[:8], "<u8")[0]
    return rows[IDENTITY].to_numpy() ^ salt, rows[CONTENT].to_numpy()


def _scored(run_id: str, found: Evaluated, label: Label) -> ScoredRun:
    return ScoredRun(run_id=run_id, metrics=found.metrics, intervals=found.intervals, label=label)


def _check_output(output: Path | None) -> None:
    """Find out before the rows are spent whether the output can be written."""
    if output is None:
        return
    if output.suffix not in {".parquet", ".csv"}:
        raise UsageError(f"the output {output} ends with neither .parquet nor .csv", hint="name it rows.parquet")
    if not output.parent.is_dir() or output.is_dir():
        raise UsageError(
            f"the output {output} is not a file in a folder that exists",
            hint="nothing was opened; name another file",
        )


def _check_names(output: Path | None, table: pa.Table, candidates: Sequence[Candidate]) -> None:
    """Refuse an output in which two columns would have one name, before the rows are spent."""
    made = {f"probability_{name}" for name in candidates[0].bundle.schema.classes} | {"prediction"}
    clash = sorted(made & set(table.column_names)) if output and len(candidates) == 1 else []
    if clash:
        raise UsageError(
            f"column {clash[0]!r} of the data would stand twice in {output}", hint="score without --output"
        )


def _with_predictions(table: pa.Table, candidates: Sequence[Candidate], judged: Sequence[Judged]) -> pa.Table:
    """Put every candidate's predictions beside the rows, named after the run when there are several."""
    for each, found in zip(candidates, judged, strict=True):
        predictions = named(each.bundle.schema, found.predicted)
        for name in predictions.column_names:
            own = name if len(candidates) == 1 else f"{name}_{each.run.run_id}"
            table = table.append_column(own, predictions[name])
    return table


def _write(output: Path, table: pa.Table) -> None:
    """Write a table whole or not at all."""
    draft = output.with_name(f".{output.name}.{uuid.uuid4().hex[:8]}")
    if output.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, draft)
    else:
        import pyarrow.csv

        pyarrow.csv.write_csv(table, draft)
    draft.replace(output)

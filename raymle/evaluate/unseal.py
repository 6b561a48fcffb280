"""The only reader of sealed rows: one opening scores a set of candidates and spends the rows for good."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raymle.config import EvaluateConfig
from raymle.data.casts import decoded
from raymle.data.hashes import content
from raymle.errors import ArtifactError, ConflictError, DataError, UsageError
from raymle.evaluate import gate, ledger
from raymle.evaluate.evaluator import judge, user_metrics
from raymle.evaluate.judged import Evaluated, Judged
from raymle.evaluate.rows import write
from raymle.model import Bundle, load
from raymle.model.bundle import named
from raymle.records import Label, Scored, ScoredRun, Seal, Splits, Trained
from raymle.store import Store
from raymle.tracking import shelf

ATTEMPTS = 20
PATIENT_ATTEMPTS, WAIT_S = 10, 0.2
"""How long rows without their entry may be somebody's who still writes; then they are spent."""


@final
@dataclass(frozen=True)
class Candidate:
    """A run that asks to be scored, with its loaded bundle."""

    run: Trained
    bundle: Bundle


@final
@dataclass(frozen=True)
class Sealed:
    """The sealed rows as they are in the source, in parts of one type each, and their hashes."""

    parts: tuple[pa.Table, ...]
    identity: ledger.Hashes
    content: ledger.Hashes
    target: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The source's columns without the target, sorted."""
        return tuple(sorted({*self.parts[0].column_names} - {self.target})) if self.parts else ()

    def spent(self, chain: Sequence[ledger.Entry], store: Store) -> NDArray[np.bool_]:
        """Tell which rows were scored before, also when they had fewer columns then."""
        found = ledger.spent(store, chain)
        covered = found.covers(self.identity, self.content)
        for columns in {each.columns for each in chain if each.spent and set(each.columns) < set(self.columns)}:
            batches = [batch for part in self.parts for batch in part.select(list(columns)).to_batches()]
            covered |= np.isin(np.concatenate([content(batch) for batch in batches]), found.content)
        return covered


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
    nothing and writes nothing. The user's own metrics see the answers only after the rows are spent.

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
    extra = user_metrics(config, folder)
    candidates = _candidates(store, runs, bundles)
    first = candidates[0].run
    sealed = _open(store, first.splits_id, question=f"{first.name}\0{candidates[0].bundle.schema.target}")
    if not len(sealed.identity):
        raise DataError(
            f"run {first.run_id} has no sealed rows", hint="give split.fractions.test a share and train again"
        )
    tables = [_labelled(each.bundle, sealed) for each in candidates]
    _check_names(output, tables[0], candidates)
    judged = [judge(each.bundle, table, {}) for each, table in zip(candidates, tables, strict=True)]
    opening, part = _spend(store, first.splits_id, sealed, candidates, judged)
    if output:
        rows = _without_images(tables[0], sealed)
        write(output, _with_predictions(rows, candidates, judged).filter(pa.array(part)))
    if extra:
        judged = [replace(each, extra=extra) for each in judged]
        opening = _add_users_metrics(store, opening, candidates, judged, part)
    seal = Seal(rows=len(sealed.identity), fresh=0, spent=len(sealed.identity))
    return Scored(runs=opening.runs, seal=seal, entry=opening.number, rows=opening.rows)


def _labelled(bundle: Bundle, sealed: Sealed) -> pa.Table:
    return pa.concat_tables([decoded(bundle.labelled(part)) for part in sealed.parts])


def _spend(
    store: Store, splits_id: str, sealed: Sealed, candidates: Sequence[Candidate], judged: Sequence[Judged]
) -> tuple[ledger.Entry, NDArray[np.bool_]]:
    """Measure on what is fresh and record it; if somebody was first, look again at what is fresh.

    Returns:
        The entry, and which rows it rests on.
    """
    for attempt in range(ATTEMPTS):
        chain = ledger.entries(store)
        if attempt < PATIENT_ATTEMPTS and ledger.unfinished(store, chain):
            time.sleep(WAIT_S)  # another scorer writes its entry just now
            continue
        fresh = ~sealed.spent(chain, store)
        label: Label = "test" if fresh.any() else "validation"
        part = fresh if fresh.any() else ~fresh
        entry = ledger.append(
            store,
            chain,
            splits_id=splits_id,
            label=label,
            rows=int(part.sum()),
            spends=(sealed.identity[fresh], sealed.content[fresh]),
            columns=sealed.columns,
            runs=_measured(candidates, judged, part, label),
        )
        if entry:
            return entry, part
    raise ConflictError(f"{ATTEMPTS} other scorers were first; nothing was scored", hint="try again")


def _add_users_metrics(
    store: Store,
    opening: ledger.Entry,
    candidates: Sequence[Candidate],
    judged: Sequence[Judged],
    part: NDArray[np.bool_],
) -> ledger.Entry:
    """Record the same opening again with the user's own metrics in it.

    Raises:
        WorkError: one of them fails; what raymle measured stands, and the rows are spent.
    """
    runs = _measured(candidates, judged, part, opening.label)
    for _ in range(ATTEMPTS):
        entry = ledger.append(
            store,
            ledger.entries(store),
            splits_id=opening.splits_id,
            label=opening.label,
            rows=opening.rows,
            spends=(np.empty(0, np.uint64), np.empty(0, np.uint64)),
            columns=opening.columns,
            runs=runs,
        )
        if entry:
            return entry
    raise ConflictError(f"{ATTEMPTS} other scorers were first", hint="the score without your own metrics is recorded")


def _measured(
    candidates: Sequence[Candidate], judged: Sequence[Judged], part: NDArray[np.bool_], label: Label
) -> tuple[ScoredRun, ...]:
    return tuple(
        _scored(each.run.run_id, found.measure(part), label) for each, found in zip(candidates, judged, strict=True)
    )


def receipt(store: Store, splits: Splits, *, name: str) -> Seal:
    """Say how many rows are sealed for an experiment and how many were never scored."""
    sealed = _open(store, splits.id, question=f"{name}\0{splits.data_schema.target}")
    spent = int(sealed.spent(ledger.entries(store), store).sum())
    return Seal(rows=len(sealed.identity), fresh=len(sealed.identity) - spent, spent=spent)


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


def _open(store: Store, splits_id: str, *, question: str) -> Sealed:
    """Map the sealed rows: what is not looked at is not read.

    A key names a row only within an experiment and its target: other data may well count from 1 too, so the question
    is mixed into the identity. The same content is the same row whoever asks.
    """
    try:
        folder = store.fetch(f"sealed/{splits_id}")
        identity, content = np.load(folder / "hashes.npy", allow_pickle=False)
        parts = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in sorted(folder.glob("rows-*.arrow"))]
    except (ArtifactError, OSError, ValueError, pa.ArrowException) as error:
        raise ArtifactError(
            f"the sealed rows of splits {splits_id} are missing or damaged: {error}",
            hint="train again on the same data to seal them again; what was spent stays spent",
        ) from None
    salt = np.frombuffer(hashlib.sha256(question.encode()).digest()[:8], "<u8")[0]
    return Sealed(tuple(parts), identity ^ salt, content, question.rpartition("\0")[2])


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


def _without_images(table: pa.Table, sealed: Sealed) -> pa.Table:
    """Put the sha256 of its file in the place of each image: who has the files finds it, nobody else sees it."""
    for place, field in enumerate(table.schema):
        if pa.types.is_fixed_size_binary(field.type):
            files = [each for part in sealed.parts if field.name in part.column_names for each in part[field.name]]
            digests = [hashlib.sha256(each.as_py()).hexdigest() if each.is_valid else None for each in files]
            known = digests if len(digests) == table.num_rows else pa.nulls(table.num_rows)
            table = table.set_column(place, field.name, pa.array(known, pa.string()))
    return table


def _with_predictions(table: pa.Table, candidates: Sequence[Candidate], judged: Sequence[Judged]) -> pa.Table:
    """Put every candidate's predictions beside the rows, named after the run when there are several."""
    for each, found in zip(candidates, judged, strict=True):
        predictions = named(each.bundle.schema, found.predicted)
        for name in predictions.column_names:
            own = name if len(candidates) == 1 else f"{name}_{each.run.run_id}"
            table = table.append_column(own, predictions[name])
    return table

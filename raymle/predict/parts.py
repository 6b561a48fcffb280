"""A chunk's result as a part: one file that is whole or not there, and says in its footer what is in it."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from raymle.data.places import filesystem, path_of
from raymle.predict.batch import Outcome, quarantined
from raymle.predict.chunks import AT_ONCE, Chunk
from raymle.predict.job import Job
from raymle.predict.output import drafted, listed
from raymle.records import Record

MARK = "raymle"
GROUP_BYTES = 16 << 20
"""A row group is written once so much is there."""
KEPT_REASONS = 10


class Receipt(Record):
    """What a part holds, or the whole output."""

    model: str
    """sha256 of the model's manifest."""
    chunk: int = 0
    rows: int
    """Rows with a prediction."""
    quarantined: int = 0
    """Rows without one; they are in a file of their own."""
    seconds: float = 0.0
    reasons: dict[str, int] = Field(default_factory=dict)
    """How often the commonest reasons were met; an example stands for all of its column."""


class Step(NamedTuple):
    """Rows that came to be known since the last step; with a receipt when a part is whole."""

    rows: int = 0
    quarantined: int = 0
    commonest: str = ""
    """The reason that was met most."""
    receipt: Receipt | None = None


@final
class GroupWriter:
    """A parquet file that is written a row group at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        texts = [field.name for field in schema if not pa.types.is_primitive(field.type)]
        self._writer = pq.ParquetWriter(path, schema, use_dictionary=texts or False)
        self._waiting: list[pa.Table] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, table: pa.Table) -> None:
        """Take in some rows."""
        self._waiting.append(table)
        if sum(each.nbytes for each in self._waiting) >= GROUP_BYTES:
            self._flush()

    def note(self, record: Record) -> None:
        """Say in the footer what is in the file."""
        self._writer.add_key_value_metadata({MARK: record.model_dump_json()})

    def _flush(self) -> None:
        rows = pa.concat_tables(self._waiting) if self._waiting else None
        if rows is not None and rows.num_rows:
            self._writer.write_table(rows.combine_chunks(), row_group_size=rows.num_rows)
        self._waiting = []


def name(number: int) -> str:
    """Return what the part of a chunk is called."""
    return f"part-{number:05}.parquet"


def good(job: Job, number: int) -> str:
    """Return where a part is until all are there."""
    return f"{job.folder}/parts/{name(number)}"


def bad(job: Job, number: int) -> str:
    """Return where a part's rows without a prediction are."""
    return f"{job.folder}/quarantine/{name(number)}"


def write(job: Job, chunk: Chunk, outcomes: Iterable[Outcome]) -> Iterator[Step]:
    """Write a chunk's part, its quarantine first: a part that is there has both. The last step has the receipt."""
    started, rows = time.monotonic(), 0
    reasons: dict[str, str] = {}
    counts: Counter[str] = Counter()
    with drafted(job.output, good(job, chunk.number)) as draft, ExitStack() as stack:
        predicted = stack.enter_context(GroupWriter(draft, job.columns))
        strange: GroupWriter | None = None
        for outcome in outcomes:
            predicted.add(outcome.good)
            rows += outcome.good.num_rows
            if outcome.bad.num_rows:
                strange = strange or _aside(job, chunk, stack)
                strange.add(outcome.bad)
                _count(outcome.bad, reasons, counts)
            commonest = next((reasons[kind] for kind, _ in counts.most_common(1)), "")
            yield Step(outcome.good.num_rows, outcome.bad.num_rows, commonest)
        whole = Receipt(
            model=job.plan["model"], chunk=chunk.number, rows=rows,
            quarantined=counts.total(), seconds=round(time.monotonic() - started, 3),
            reasons={reasons[kind]: count for kind, count in counts.most_common(KEPT_REASONS)},
        )  # fmt: skip
        for file in filter(None, (predicted, strange)):
            file.note(whole)
    yield Step(receipt=whole)


def _aside(job: Job, chunk: Chunk, stack: ExitStack) -> GroupWriter:
    draft = stack.enter_context(drafted(job.output, bad(job, chunk.number)))
    return stack.enter_context(GroupWriter(draft, quarantined(job)))


def _count(rows: pa.Table, reasons: dict[str, str], counts: Counter[str]) -> None:
    """Count the rows by their column, or by the beginning of a reason that has none."""
    columns, told = (rows[f"quarantine_{name}"].to_pylist() for name in ("column", "reason"))
    for column, reason in zip(columns, told, strict=True):
        kind = column or reason.partition(":")[0]
        counts[kind] += 1
        reasons.setdefault(kind, reason)


def receipts(job: Job) -> dict[int, Receipt]:
    """Return the receipts of the parts that are there, by the numbers of their chunks; a damaged one is not there."""
    wanted = {name(chunk.number): chunk.number for chunk in job.chunks}
    there = [wanted[each] for each in listed(f"{job.folder}/parts") if each in wanted]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda number: receipt(good(job, number)), there)
        return {number: each for number, each in zip(there, found, strict=True) if each}


def receipt(uri: str) -> Receipt | None:
    """Return what a file's footer says; None when there is no such file of ours."""
    try:
        footer = pq.read_metadata(path_of(uri), filesystem=filesystem(uri))
        return Receipt.model_validate_json((footer.metadata or {})[MARK.encode()])
    except (OSError, pa.ArrowException, ValidationError, KeyError):
        return None

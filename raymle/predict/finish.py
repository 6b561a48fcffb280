"""All parts are there: they become the output, which appears whole."""

import json
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raymle.data.places import filesystem, path_of
from raymle.folders import write_durably
from raymle.predict import parts
from raymle.predict.batch import quarantined
from raymle.predict.job import Job
from raymle.predict.output import SUCCESS, drafted, listed, remove, written
from raymle.predict.parts import GroupWriter, Receipt
from raymle.predict.progress import Progress


def finish(job: Job, progress: Progress) -> None:
    """Put the quarantine and then the predictions in place, and remove what was only needed until then."""
    numbers = [chunk.number for chunk in job.chunks]
    whole = Receipt(model=job.plan["model"], rows=progress.rows, quarantined=progress.quarantined)
    strange = [parts.bad(job, number) for number in numbers if progress.receipts[number].quarantined]
    with written(job.output.uri):
        if strange:
            _join(job, strange, job.output.quarantine, quarantined(job), whole)
        elif parts.receipt(job.output.quarantine):
            remove(job.output.quarantine)  # it tells of an earlier output
        if job.output.is_file:
            _join(job, [parts.good(job, number) for number in numbers], job.output.uri, job.columns, whole)
        else:
            _publish(job, progress, whole)
        remove(job.output.scratch)


def _join(job: Job, found: Sequence[str], target: str, schema: pa.Schema, whole: Receipt) -> None:
    """Make one file of several, a row group at a time; of a single one by moving it."""
    if len(found) == 1:
        filesystem(target).move(path_of(found[0]), path_of(target))
        return
    with drafted(job.output, target) as draft, GroupWriter(draft, schema) as file:
        for uri in found:
            with pq.ParquetFile(path_of(uri), filesystem=filesystem(uri)) as part:
                for group in range(part.num_row_groups):
                    file.add(part.read_row_group(group, use_threads=False).cast(schema))
        file.note(whole)


def _publish(job: Job, progress: Progress, whole: Receipt) -> None:
    """Make the folder of parts appear, with what is in it written last."""
    rows = {parts.name(number): receipt.rows for number, receipt in sorted(progress.receipts.items())}
    success = json.dumps({**whole.model_dump(mode="json", include={"model", "rows", "quarantined"}), "parts": rows})
    if job.output.is_here:
        _move(job, success.encode())
    else:
        _copy(job, success.encode(), list(rows))


def _move(job: Job, success: bytes) -> None:
    source, target = Path(job.folder, "parts"), Path(job.output.uri)
    write_durably(source / SUCCESS, success)
    if target.exists():
        target.rename(Path(job.output.scratch, f"drafts-{uuid.uuid4().hex}"))  # goes with the scratch folder
    source.rename(target)


def _copy(job: Job, success: bytes, names: list[str]) -> None:
    system, target = filesystem(job.output.uri), path_of(job.output.uri)
    with suppress(FileNotFoundError):
        system.delete_file(f"{target}/{SUCCESS}")
    for name in set(listed(job.output.uri)) - set(names):
        remove(f"{job.output.uri}/{name}")
    for number, name in enumerate(names):
        system.copy_file(path_of(parts.good(job, number)), f"{target}/{name}")
    with system.open_output_stream(f"{target}/{SUCCESS}") as stream:
        stream.write(success)

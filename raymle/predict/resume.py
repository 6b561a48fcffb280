"""What an unfinished run has left: its parts are used again where model, source and columns are the same."""

import json
from contextlib import suppress

from raymle.data.places import filesystem, name_of, path_of
from raymle.predict import parts
from raymle.predict.job import Job
from raymle.predict.output import listed, remove, written
from raymle.predict.progress import Progress, begun

PLAN = "plan.json"


def found(job: Job) -> Progress:
    """Return where the same job stands that did not come to its end; nothing is changed."""
    return begun(parts.receipts(job).values(), job.rows)


def begin(job: Job) -> tuple[Progress, str]:
    """Remove what a run of another plan has left, write this one's, and return where it stands and what to say."""
    own = name_of(job.folder)
    with written(job.output.uri):
        others = [each for each in listed(job.output.scratch) if each not in {own, "lock"}]
        changed = [_changed(job, f"{job.output.scratch}/{each}") for each in others]
        for each in others:
            remove(f"{job.output.scratch}/{each}")
        _write_plan(job)
    progress = found(job)
    name = name_of(job.output.uri)
    if progress.receipts:
        return progress, f"{name} goes on: {len(progress.receipts)} of {len(job.chunks)} parts are done"
    told = next(filter(None, changed), "")
    return progress, f"{name} starts afresh: an unfinished run had another {told}" if told else ""


def _changed(job: Job, folder: str) -> str:
    """Say what another plan has otherwise."""
    with suppress(OSError, ValueError):
        with filesystem(folder).open_input_stream(path_of(f"{folder}/{PLAN}")) as stream:
            other = json.loads(stream.read())
        return next((key for key, value in job.plan.items() if other.get(key) != value), "")
    return ""


def _write_plan(job: Job) -> None:
    system, path = filesystem(job.folder), path_of(job.folder)
    if job.output.is_here:
        system.create_dir(path)
    with system.open_output_stream(f"{path}/{PLAN}") as stream:
        stream.write(json.dumps(job.plan).encode())

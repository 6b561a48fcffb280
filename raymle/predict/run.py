"""Predict a whole source: plan, predict chunk by chunk, put the parts together."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from raymle.errors import ArtifactError, DataError, UsageError
from raymle.folders import verify
from raymle.model import load
from raymle.predict import actors, inline, resume
from raymle.predict.display import display
from raymle.predict.finish import finish
from raymle.predict.job import Job, job
from raymle.predict.output import held, remove
from raymle.predict.parts import Step
from raymle.predict.progress import Progress, refuse_too_many
from raymle.records import Plan, Predicted
from raymle.runtime import Execution
from raymle.train import say

if TYPE_CHECKING:
    import pandas as pd

MOST_QUARANTINED = 0.1


def predict(
    bundle: Path,
    source: "str | pa.Table | pd.DataFrame",
    output: str | Path,
    *,
    folder: str = ".",
    on_ray: bool = False,
    max_quarantined: float = MOST_QUARANTINED,
) -> Predicted:
    """Predict every row of a source, in order, into parquet that appears whole or not at all.

    A call that was killed goes on when it is made again. Rows that break the model's contract are put aside.

    Args:
        bundle: The model's folder; on Ray every node must see it.
        source: Anything that ``data.source`` takes; the target may be absent.
        output: A ``.parquet`` file or a folder of parts; a path or a URI of the same schemes.
        folder: Where a relative source starts.
        on_ray: Spread the chunks over the Ray that is connected.
        max_quarantined: The fraction of rows without a prediction that is too many.

    Raises:
        DataError: too many rows break the contract, or the source cannot be read.
        ConflictError: another process writes this output.
        SetupError: the output cannot be written.
    """
    started = time.monotonic()
    if not 0 <= max_quarantined <= 1:
        raise UsageError(f"--max-quarantined {max_quarantined:g} is not a fraction", hint="for instance 0.1")
    made = job(bundle, source, output, folder=folder)
    with held(made.output):
        try:
            progress = _work(made, on_ray=on_ray, most=max_quarantined)
        except (ArtifactError, DataError, UsageError):
            remove(made.output.scratch)  # the same call would fail again
            raise
        except KeyboardInterrupt:
            say("stopped; the same call goes on")
            raise
        finish(made, progress)
    return Predicted(
        rows=progress.rows, output=made.output.uri, seconds=round(time.monotonic() - started, 3),
        quarantined=progress.quarantined, quarantine=made.output.quarantine if progress.quarantined else None,
        resumed=progress.before, warnings=made.warnings,
    )  # fmt: skip


def _work(made: Job, *, on_ray: bool, most: float) -> Progress:
    """Write the parts that are not there yet."""
    progress, told = resume.begin(made)
    if told:
        say(told)
    with display() as show:
        for step in _steps(made, progress, on_ray=on_ray):
            progress = progress.after(step)
            refuse_too_many(progress, most)
            show(progress)
    refuse_too_many(progress, most, ended=True)
    return progress


def _steps(made: Job, progress: Progress, *, on_ray: bool) -> Iterator[Step]:
    left = [chunk for chunk in made.chunks if chunk.number not in progress.receipts]
    if not left:
        return iter(())
    if on_ray and (made.source.table is None or made.source.aside):
        verify(made.bundle, deep=True)
        return actors.spread(made, left)
    return inline.predicted(made, load(made.bundle, threads=1), left, threads=pa.cpu_count())


def plan(
    bundle: Path,
    source: "str | pa.Table | pd.DataFrame",
    output: str | Path,
    execution: Execution,
    *,
    folder: str = ".",
) -> Plan:
    """Check everything and say what a prediction would do; nothing is loaded or written."""
    made = job(bundle, source, output, folder=folder)
    progress, schema = resume.found(made), made.contents.data_schema
    rows = "an unknown number of" if made.rows is None else f"{made.rows:,}"
    before = sum(each.seconds for each in progress.receipts.values())
    left = None if made.rows is None else made.rows - progress.done
    seconds = round(before * left / progress.done, 1) if progress.done and left is not None else None
    return Plan(
        verb="predict",
        what=f"{made.contents.model.type} predicts {schema.target} of {rows} rows of {made.source.name}",
        where="this process" if not execution.on_ray else f"Ray at {execution.address}",
        why=execution.why,
        steps=(
            f"predict {len(made.chunks)} chunks, {len(progress.receipts)} of them done by an earlier run",
            f"write {made.output.uri}: {', '.join(made.columns.names[:6])}{', ...' * (len(made.columns) > 6)}",
        ),
        seconds=seconds,
        details={"rows": made.rows, "chunks": len(made.chunks), "done": len(progress.receipts)},
    )

"""Chunks predicted by actors of Ray Data: each loads the model once and writes its parts itself."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from raymle.data.places import filesystem, path_of
from raymle.errors import RaymleError, SetupError, WorkError
from raymle.model import load
from raymle.predict import parts
from raymle.predict.chunks import Chunk
from raymle.predict.inline import predicted
from raymle.predict.job import Job
from raymle.predict.parts import Receipt, Step

DEATHS = 3
"""An actor may die so often; it is started again, and does its chunk again."""


def spread(job: Job, chunks: Sequence[Chunk]) -> Iterator[Step]:
    """Predict chunks wherever Ray has a CPU, and yield each receipt as it comes; only receipts travel.

    A chunk whose actor dies is done again by another one.
    """
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # our sentence is enough
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    with ray.data.DataContext.current(context):
        done = _dataset(job, chunks)
        try:
            for table in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for text in table["receipt"].to_pylist():
                    receipt = Receipt.model_validate_json(text)
                    _refuse_unseen(job, receipt)
                    yield Step(receipt.rows, receipt.quarantined, next(iter(receipt.reasons), ""), receipt)
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, RaymleError):
                raise
            sentence = str(error.cause).splitlines()[0]  # Ray Data adds advice of its own
            raise type(error.cause)(sentence, hint=error.cause.hint) from None
        except ray.exceptions.RayActorError as error:
            raise WorkError(
                f"an actor that predicts died {DEATHS + 1} times: {str(error).splitlines()[0]}",
                hint="was there enough memory? the same call goes on",
            ) from error


def _dataset(job: Job, chunks: Sequence[Chunk]) -> Any:
    import ray

    cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    numbers = [{"chunk": place} for place in range(len(chunks))]
    rows = ray.data.from_items(numbers, override_num_blocks=len(chunks))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray 2.60 warns of these names, and has no others yet
        return rows.map_batches(
            _Actor,
            fn_constructor_args=(replace(job, chunks=tuple(chunks)),),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=max(1, min(len(chunks), cpus))),
            max_restarts=DEATHS,
            max_task_retries=DEATHS,
        )


def _refuse_unseen(job: Job, receipt: Receipt) -> None:
    """Refuse to go on when the parts are written where this machine does not see them."""
    uri = parts.good(job, receipt.chunk)
    if not filesystem(uri).get_file_info(path_of(uri)).is_file:
        raise SetupError(
            f"a node of the cluster wrote {uri}, which is not seen here",
            hint="name an output in a bucket, or in a folder that every node shares",
        )


class _Actor:
    """A chunk's place in, its receipt out."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._bundle = load(job.bundle, threads=1)

    def __call__(self, places: pa.Table) -> pa.Table:
        chunks = [self._job.chunks[place] for place in places["chunk"].to_pylist()]
        steps = predicted(self._job, self._bundle, chunks, threads=1)
        return pa.table({"receipt": [step.receipt.model_dump_json() for step in steps if step.receipt]})

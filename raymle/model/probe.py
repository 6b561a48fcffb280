"""What a bundle takes when it predicts, measured in a fresh process with one thread, as a replica of one CPU has.

Rows are predicted as they are served: an Arrow table through conform, transform and model. The web server's share is
not in it, nor are the user's own ``data.transforms``, whose raw rows nobody kept.
"""

import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import raymle
from raymle.data import examples
from raymle.errors import RaymleError, WorkError
from raymle.folders import verify
from raymle.measure.resources import Resources, peak_memory_mb, size_mb, timed
from raymle.model.bundle import load
from raymle.records import Metrics

THREADS = 1
BATCH_ROWS = 64
ONE_S, BATCH_S = 1.0, 0.5
MOST_S = 300
ABOUT = {"threads", "share"}
"""What says how it was measured."""
CHILD = (
    "import os, sys; os.environ.update(dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS'), sys.argv[1]));"
    "sys.path.append(sys.argv[2]); from raymle.model.probe import main; main()"
)


def measure(bundle: Path) -> Resources:
    """Measure a bundle in a process of its own, which nothing else shares.

    Raises:
        ArtifactError: the bundle is missing or damaged.
        WorkError: its process failed or took minutes.
    """
    verify(bundle, deep=False)
    root = str(Path(raymle.__file__).parents[1])
    words = [sys.executable, "-P", "-c", CHILD, str(THREADS), root, str(bundle)]
    try:
        done = subprocess.run(  # noqa: S603
            words, capture_output=True, text=True, timeout=MOST_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise WorkError(f"{bundle} took over {MOST_S} s to be measured", hint="is its model far too large?") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise WorkError(f"{bundle} could not be measured: {said[0]}", hint="`raymle predict` loads it the same way")
    return Resources.model_validate_json(done.stdout)


def facts(bundle: Path) -> Metrics:
    """Measure a bundle in a process of its own; return what limits may ask for, by the names of a table's columns."""
    found = measure(bundle)
    return {name: float(value) for name, value in found if name not in ABOUT}


def main() -> None:
    """Measure the bundle that the command line names; print one JSON document."""
    try:
        with redirect_stdout(sys.stderr):  # the user's own network may print
            found = measured(Path(sys.argv[3]))
    except RaymleError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    print(json.dumps(found.model_dump()))  # noqa: T201


def measured(folder: Path) -> Resources:
    """Measure a bundle in this process."""
    bundle = load(folder, threads=THREADS)
    many = examples.rows(bundle.schema, bundle.transform, BATCH_ROWS)
    single = [many.take([place]) for place in range(BATCH_ROWS)]
    one = timed(lambda call: bundle.predict(single[call % BATCH_ROWS]), seconds=ONE_S)
    batch = timed(lambda _: bundle.predict(many), seconds=BATCH_S)
    return Resources(
        latency_ms=one.median_ms, latency_p95_ms=one.p95_ms, batch_latency_ms=batch.median_ms,
        memory_mb=peak_memory_mb(), size_mb=size_mb(folder), threads=THREADS, share=min(one.share, batch.share),
    )  # fmt: skip

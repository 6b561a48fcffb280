"""The sentences story as a driver script: `python jobs/sentences/run.py`, or sent to a cluster with `ray job submit`.

Inside a job the storage must outlive the job: pass an absolute folder that every node mounts, or s3://.
"""

import argparse
from pathlib import Path

from data import build

import raymle

HERE = Path(__file__).parent


def main() -> None:
    """Train once, score the model on the sealed rows, and make it champion if it is good enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", default=str(HERE / "runs"))
    parser.add_argument("--rows", type=int, help="use only so many sentences of each package")
    parser.add_argument("overrides", nargs="*", help="key=value of the spec")
    given = parser.parse_args()

    build(HERE / "sentences.parquet", rows=given.rows)
    sentences = raymle.Experiment.load(HERE / "raymle.yaml", f"storage={given.storage}", *given.overrides)
    print(sentences)
    run = sentences.train()
    print(run)
    print(run.score().seal)
    print(run.promote())


if __name__ == "__main__":
    main()

"""The digits story as a driver script: `python jobs/digits/run.py`, or sent to a cluster with `ray job submit`.

Inside a job the storage must outlive the job: pass an absolute folder that every node mounts, or s3://.
"""

import argparse
import shutil
from pathlib import Path

from data import build

import raymle

HERE = Path(__file__).parent


def main() -> None:
    """Train once, score the model on the sealed images, and make it champion if it is good enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", default=str(HERE / "runs"))
    parser.add_argument("--images", type=int, help="use only the first images")
    parser.add_argument("overrides", nargs="*", help="key=value of the spec")
    given = parser.parse_args()

    shutil.rmtree(HERE / "digits", ignore_errors=True)
    build(HERE / "digits", images=given.images)
    digits = raymle.Experiment.load(HERE / "raymle.yaml", f"storage={given.storage}", *given.overrides)
    print(digits)
    run = digits.train()
    print(run)
    print(run.score().seal)
    print(run.promote())


if __name__ == "__main__":
    main()

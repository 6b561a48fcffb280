"""The tumours story as a driver script: `python jobs/tumours/run.py`, or sent to a cluster with `ray job submit`.

Inside a job the storage must outlive the job: pass an absolute folder that every node mounts, or s3://.
"""

import argparse
from pathlib import Path

from data import build

import raymle

HERE = Path(__file__).parent


def main() -> None:
    """Train once, score the forecasts on the sealed last part of the year, and promote them if they are worth it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", default=str(HERE / "runs"))
    parser.add_argument("--hours", type=int, help="use only the first hours of the year")
    parser.add_argument("overrides", nargs="*", help="key=value of the spec")
    given = parser.parse_args()

    build(HERE / "weather.parquet", hours=given.hours)
    weather = raymle.Experiment.load(HERE / "raymle.yaml", f"storage={given.storage}", *given.overrides)
    print(weather)
    run = weather.train()
    print(run)
    naive = run.metrics["seasonal_naive_mae"]
    print(f"off by {run.metrics['mae']:.2f} degrees; what it was a day before is off by {naive:.2f}")
    print(run.score().seal)
    print(run.promote())


if __name__ == "__main__":
    main()

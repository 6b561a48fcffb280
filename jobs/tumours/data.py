"""Build a table of tumours from scikit-learn's breast cancer: nearly all benign, the others are to be found."""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

EVERY = 5
"""Of the malignant tumours one in so many is kept: anomalies are rare."""


def build(path: Path) -> int:
    """Write the table as parquet, and return how many rows it has."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    is_benign = found.target == 1
    kept = np.sort(np.concatenate([np.flatnonzero(is_benign), np.flatnonzero(~is_benign)[::EVERY]]))
    names = [name.replace(" ", "_") for name in found.feature_names]
    columns = dict(zip(names, found.data[kept].T, strict=True))
    kinds = np.where(is_benign[kept], "benign", "malignant")
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**columns, "kind": kinds}), path)
    return len(kept)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", default=Path("tumours.parquet"))
    arguments = parser.parse_args()
    print(build(arguments.path), "rows in", arguments.path)

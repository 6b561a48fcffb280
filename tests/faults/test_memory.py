"""A table of four times the memory that a training may use is prepared, trained and evaluated."""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

COLUMNS, ROWS, CHUNK = 60, 2_400_000, 65_536
DECODED_BYTES = ROWS * COLUMNS * 8
MEMORY_BYTES = DECODED_BYTES // 4
SPEC = """
name: wide
data: {source: rows.parquet, target: y}
model: {type: mlp, params: {hidden: [16], dropout: 0.0}}
train: {epochs: 2, batch_size: 4096, shuffle_gib: 0.0625}
evaluate: {metric: roc_auc}
cluster: {address: inline}
"""
WHOLE = "train.shuffle_gib=64"
# One thread and glibc's allocator: the others reserve address space ahead, which the limit would count.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}


@pytest.fixture
def wide():
    """Folders with a spec and a table each, few rows and many; pytest would keep them for days."""
    with tempfile.TemporaryDirectory() as name:
        folders = Path(name, "few"), Path(name, "many")
        for folder, rows in zip(folders, (4000, ROWS), strict=True):
            folder.mkdir()
            (folder / "raymle.yaml").write_text(SPEC)
            write(folder / "rows.parquet", rows)
        yield folders


def write(path, rows):
    """Write numbers of 256 values each, which are small on disk and 8 bytes once decoded."""
    draw = np.random.default_rng(0)
    weights, names = draw.normal(size=COLUMNS), [f"n{place}" for place in range(COLUMNS)]
    values = np.linspace(-1.7, 1.7, 256)
    schema = pa.schema([*((name, pa.float64()) for name in names), ("y", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, CHUNK):
            numbers = values[draw.integers(0, 256, (COLUMNS, min(CHUNK, rows - first)), np.uint8)]
            signal = weights @ numbers + draw.normal(scale=2.0, size=numbers.shape[1])
            columns = dict(zip(names, numbers, strict=True)) | {"y": np.where(signal > 0, "yes", "no")}
            writer.write_table(pa.table(columns, schema=schema))


def run(folder, *argv, limit=resource.RLIM_INFINITY):
    """Run Python with at most that much memory of its own; return its answer, what it said, and its peak in bytes."""
    done = subprocess.Popen(
        [sys.executable, *argv], cwd=folder, env=ENVIRONMENT,
        stdout=(folder / "out").open("w"), stderr=(folder / "err").open("w"),
    )  # fmt: skip
    resource.prlimit(done.pid, resource.RLIMIT_DATA, (limit, limit))
    peak = 0
    while done.returncode is None:
        peak = max(peak, own_memory(done.pid))
        try:
            done.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    out, told = (folder / "out").read_text(), (folder / "err").read_text()
    return json.loads(out) if done.returncode == 0 and out else None, told, peak


def own_memory(pid):
    """Return what RLIMIT_DATA counts, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData")), 0)


def train(folder, *overrides, **limits):
    return run(folder, "-m", "raymle", "train", "--json", *overrides, **limits)


def test_a_table_of_four_times_the_memory_is_trained_to_its_end(wide):
    few, many = wide
    _, told, base = train(few)
    assert base, told
    limit = base + MEMORY_BYTES

    read = "import pyarrow.parquet; pyarrow.parquet.read_table('rows.parquet')"
    _, told, _ = run(many, "-c", read, limit=limit)
    assert "malloc of size" in told, "the limit does not hold"

    streamed, told, _ = train(many, limit=limit)
    assert streamed, told
    assert sum(streamed["rows"].values()) == ROWS
    assert [line.split()[1] for line in told.splitlines() if line.startswith("epoch")] == ["1/2", "2/2"]
    whole, told, _ = train(many, WHOLE)
    assert whole, told
    found, wanted = (answer["metrics"]["validation"]["roc_auc"] for answer in (streamed, whole))
    assert wanted > 0.9
    assert found == pytest.approx(wanted, abs=0.003)

"""Batch prediction by actors of Ray Data: what it writes is what this process writes, also when an actor dies."""

import os
import threading
import time

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_model import make, rows

from raymle.errors import WorkError
from raymle.predict import parts, predict, resume, run
from raymle.predict.job import job

FILES, ROWS = 8, 100
WAIT = """
import time
from pathlib import Path

def wait(table):
    if table["at"][0].as_py() >= {row}:
        Path({path!r}).touch()
    while Path({path!r} + ".hold").exists() and Path({path!r}).exists():
        time.sleep(0.01)
    return table
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("spread")
    (path / "mine.py").write_text(WAIT.format(row=4 * ROWS, path=str(path / "reached")))
    table = rows(FILES * ROWS).append_column("at", pa.array(range(FILES * ROWS)))
    (path / "in").mkdir()
    for number in range(FILES):
        part = table.slice(number * ROWS, ROWS)
        if number == 2:
            part = part.set_column(1, "amount", [["x", *(["1"] * (ROWS - 1))]])
        pq.write_table(part, path / "in" / f"{number}.parquet")
    return path


@pytest.fixture(scope="module")
def bundle(folder):
    return make(folder, transforms=("mine:wait",), columns={"at": 0})


@pytest.fixture(scope="module")
def whole(folder, bundle):
    done = predict(bundle, str(folder / "in"), folder / "whole.parquet")
    return pq.read_table(done.output), pq.read_table(done.quarantine)


def actors():
    return [child for child in psutil.Process().children(recursive=True) if "MapWorker" in child.name()]


def test_an_actor_that_is_killed_leaves_no_gap_and_nothing_twice(two_cpus, folder, bundle, whole):
    reached, hold = folder / "reached", folder / "reached.hold"
    reached.unlink()  # by what wrote the whole
    hold.touch()
    killed = []

    def kill():
        while not reached.exists() or not actors():
            time.sleep(0.01)
        killed.extend(actors()[:1])
        os.kill(killed[0].pid, 9)
        hold.unlink()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    done = predict(bundle, str(folder / "in"), folder / "killed.parquet", on_ray=True)
    thread.join()
    assert killed
    assert (done.rows, done.quarantined) == (FILES * ROWS - 1, 1)
    assert pq.read_table(done.output).equals(whole[0])
    assert pq.read_table(done.quarantine).equals(whole[1])
    assert not list(folder.glob(".*.raymle"))


def test_a_chunk_that_kills_its_actor_again_and_again_is_told(two_cpus, folder, tmp_path):
    (tmp_path / "deadly.py").write_text(
        "import os\ndef end(table):\n    if 450 in table['at'].to_pylist():\n        os.abort()\n    return table\n"
    )
    deadly = make(tmp_path, transforms=("deadly:end",), columns={"at": 0})
    with pytest.raises(WorkError, match="an actor that predicts died 4 times") as caught:
        predict(deadly, str(folder / "in"), tmp_path / "out.parquet", on_ray=True)
    assert "the same call goes on" in caught.value.hint
    assert not (tmp_path / "out.parquet").exists()


def test_what_began_here_goes_on_there(two_cpus, folder, bundle, whole):
    made = job(bundle, str(folder / "in"), folder / "out")
    progress, _ = resume.begin(made)
    for step in run._steps(made, progress, on_ray=False):
        progress = progress.after(step)
        if len(progress.receipts) == 3:
            break
    done = predict(bundle, str(folder / "in"), folder / "out", on_ray=True)
    assert done.resumed == 3 * ROWS
    assert pq.read_table(folder / "out").equals(whole[0])
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["_SUCCESS", *map(parts.name, range(FILES))]

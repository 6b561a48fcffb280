"""A batch prediction is killed again and again, and what it writes in the end is what an undisturbed one writes."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_model import make, rows

FILES, ROWS = 12, 500
HOLD = """
import time
from pathlib import Path
import pyarrow.compute as pc

def hold(table):
    file = Path({path!r})
    while file.exists() and int(file.read_text() or 0) <= int(table["at"][0].as_py()):
        time.sleep(0.005)
    return table
"""
"""A transform of the user's that waits at the row that a file names, for as long as the file is there."""
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


class Folder:
    """Twelve files to predict, one of them with bad rows, and a model that can be made to wait."""

    def __init__(self, path):
        self.path, self.hold = path, path / "hold"
        (path / "mine.py").write_text(HOLD.format(path=str(self.hold)))
        self.bundle = make(path, transforms=("mine:hold",), columns={"at": 0})
        table = rows(FILES * ROWS).append_column("at", pa.array(range(FILES * ROWS)))
        (path / "in").mkdir()
        for number in range(FILES):
            part = table.slice(number * ROWS, ROWS)
            if number == 5:
                part = part.set_column(1, "amount", [["x", *(["1.5"] * (ROWS - 2)), "y"]])
            pq.write_table(part, path / "in" / f"{number:02}.parquet", row_group_size=100)

    def begin(self, output):
        return subprocess.Popen(
            [sys.executable, "-m", "raymle", "predict", str(self.bundle), "in", output, "--json"], cwd=self.path,
            env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, output, code=0):
        process = self.begin(output)
        out, told = process.communicate(timeout=120)
        assert process.returncode == code, told
        assert "Traceback" not in told
        return (json.loads(out) if out else None), told

    def parts(self, output):
        return sorted(self.path.glob(f".{output}.raymle/*/parts/part-*.parquet"))

    def reach(self, process, output, count):
        """Wait until so many parts are whole."""
        while len(self.parts(output)) < count:
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Folder(tmp_path_factory.mktemp("batch"))


@pytest.fixture(scope="module")
def whole(folder):
    done, _ = folder.run("whole.parquet")
    assert (done["rows"], done["quarantined"]) == (FILES * ROWS - 2, 2)
    return pq.read_table(folder.path / "whole.parquet"), pq.read_table(folder.path / "whole.quarantine.parquet")


@pytest.mark.parametrize("name", ["one.parquet", "many"])
def test_killed_again_and_again_it_writes_what_an_undisturbed_call_writes(folder, whole, name):
    reached = []
    for count in (1, 5, 8):
        folder.hold.write_text(str((count + 1) * ROWS))  # it waits in the part after
        process = folder.begin(name)
        folder.reach(process, name, count)
        _, told = folder.run(name, code=8)
        assert f"another process writes {folder.path / name}" in told
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept = {path.name: path.stat().st_mtime_ns for path in folder.parts(name)}
        assert reached == [] or kept.items() >= reached[-1].items(), "what was done was done again"
        reached.append(kept)
        assert not (folder.path / name).exists()
    folder.hold.unlink()
    done, told = folder.run(name)
    assert f"{name} goes on: {len(reached[-1])} of {FILES} parts are done" in told
    assert (done["rows"], done["quarantined"]) == (FILES * ROWS - 2, 2)
    assert pq.read_table(folder.path / name).equals(whole[0])
    assert pq.read_table(done["quarantine"]).equals(whole[1])
    assert not list(folder.path.glob(".*.raymle"))


def test_killed_at_any_time(folder, whole):
    """No part of the work is special: wherever the kill falls, the next call ends well."""
    started = time.monotonic()
    folder.run("timed.parquet")
    lasts = time.monotonic() - started
    for part in (0.6, 0.8, 0.9, 0.97):
        process = folder.begin("any.parquet")
        try:
            process.communicate(timeout=part * lasts)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    folder.run("any.parquet")
    assert pq.read_table(folder.path / "any.parquet").equals(whole[0])


def test_ctrl_c_and_a_call_that_goes_on(folder, whole):
    folder.hold.write_text(str(3 * ROWS))
    process = folder.begin("stopped.parquet")
    folder.reach(process, "stopped.parquet", 2)
    process.send_signal(signal.SIGINT)
    folder.hold.unlink()  # a batch under way comes to its end
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; the same call goes on" in told
    assert "Traceback" not in told
    _, told = folder.run("stopped.parquet")
    assert "stopped.parquet goes on" in told
    assert pq.read_table(folder.path / "stopped.parquet").equals(whole[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk_is_one_sentence_and_the_call_goes_on_once_there_is_room(folder, whole):
    disk = folder.path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("this container may not mount")
    try:
        _, told = folder.run("disk/out.parquet", code=7)
        assert f"cannot write {disk / 'out.parquet'}" in told
        assert "No space left on device" in told
        assert not (disk / "out.parquet").exists()
        done = len(list(disk.glob(".out.parquet.raymle/*/parts/*")))
        assert 0 < done < FILES
        subprocess.run(["mount", "-o", "remount,size=10m", disk], check=True, capture_output=True)
        _, told = folder.run("disk/out.parquet")
        assert "goes on" in told
        assert pq.read_table(disk / "out.parquet").equals(whole[0])
        assert sorted(path.name for path in disk.iterdir()) == ["out.parquet", "out.quarantine.parquet"]
    finally:
        subprocess.run(["umount", disk], check=True)

"""A call that did not come to its end goes on when it is made again, and never mixes with another one."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from small_model import make, rows

from raymle.errors import ConflictError, DataError
from raymle.predict import finish, inline, parts, predict, resume, run
from raymle.predict.job import job

PARTS, ROWS = 6, 60


@pytest.fixture
def source(tmp_path):
    for number in range(PARTS):
        pq.write_table(rows(ROWS).slice(number * 10, 10), tmp_path / f"in-{number}.parquet")
    return str(tmp_path / "in-*.parquet")


@pytest.fixture
def whole(bundle, source, tmp_path):
    """What a call gives that nothing interrupts."""
    return pq.read_table(predict(bundle, source, tmp_path / "whole.parquet").output)


def stop(bundle, source, output, *, after):
    """Do what a call does until so many parts are whole, and leave it there."""
    made = job(bundle, source, output)
    progress, _ = resume.begin(made)
    for step in run._steps(made, progress, on_ray=False):
        progress = progress.after(step)
        if len(progress.receipts) == after:
            return made, progress
    return made, progress


@pytest.mark.parametrize("after", [0, 1, 4, PARTS])
@pytest.mark.parametrize("name", ["out.parquet", "out"])
def test_it_goes_on_with_the_parts_that_are_there(bundle, source, whole, tmp_path, capsys, after, name):
    made, _ = stop(bundle, source, tmp_path / name, after=after)
    draft = tmp_path / f".{name}.raymle" / "drafts" / "x"
    draft.mkdir(parents=True)
    (draft / "part-00000.parquet").write_bytes(b"half")
    seen = {each: Path(parts.good(made, each)).stat().st_mtime_ns for each in resume.found(made).receipts}
    done = predict(bundle, source, tmp_path / name)
    assert (done.rows, done.resumed) == (ROWS, 10 * len(seen))
    assert len(seen) >= after
    assert pq.read_table(done.output).equals(whole)
    assert (f"goes on: {len(seen)} of {PARTS} parts are done" in capsys.readouterr().err) == bool(seen)
    assert not (tmp_path / f".{name}.raymle").exists()


def test_a_damaged_part_is_made_again(bundle, source, whole, tmp_path):
    made, _ = stop(bundle, source, tmp_path / "out.parquet", after=3)
    with Path(parts.good(made, 1)).open("r+b") as file:
        file.truncate(100)
    assert predict(bundle, source, tmp_path / "out.parquet").resumed == 20
    assert pq.read_table(tmp_path / "out.parquet").equals(whole)


def test_killed_between_the_steps_of_its_end(bundle, source, whole, tmp_path, monkeypatch):
    for name in ("out.parquet", "out"):
        for broken in ("remove", "drafted", "write_durably"):
            predict(bundle, rows(7), tmp_path / name)
            made, progress = stop(bundle, source, tmp_path / name, after=99)
            with monkeypatch.context() as patch:
                patch.setattr(finish, broken, lambda *_, **__: 1 / 0)
                with suppress(ZeroDivisionError):
                    finish.finish(made, progress)
            predict(bundle, source, tmp_path / name)
            assert pq.read_table(tmp_path / name).equals(whole)
            assert not (tmp_path / f".{name}.raymle").exists()


def test_another_model_starts_afresh(bundle, source, tmp_path, capsys):
    stop(bundle, source, tmp_path / "out.parquet", after=3)
    other = make(tmp_path / "other", target=("no", "maybe", "yes"))
    done = predict(other, source, tmp_path / "out.parquet")
    assert done.resumed == 0
    assert "out.parquet starts afresh: an unfinished run had another model" in capsys.readouterr().err
    assert pq.read_table(done.output)["prediction"].type.value_type == "string"
    assert "probability_maybe" in pq.read_schema(done.output).names
    assert not (tmp_path / ".out.parquet.raymle").exists()


def test_another_source_starts_afresh(bundle, source, tmp_path, capsys):
    stop(bundle, source, tmp_path / "out.parquet", after=3)
    path = tmp_path / "in-2.parquet"
    before = path.stat().st_mtime_ns
    pq.write_table(rows(100).slice(90), path)
    os.utime(path, ns=(time.time_ns(), before + 1))
    done = predict(bundle, source, tmp_path / "out.parquet")
    assert done.resumed == 0
    assert "an unfinished run had another source" in capsys.readouterr().err
    assert pq.read_table(done.output)["id"].to_pylist()[20:30] == [f"c{row}" for row in range(90, 100)]


def test_a_table_in_memory_is_never_gone_on_with(bundle, tmp_path):
    stop(bundle, rows(10), tmp_path / "out.parquet", after=1)
    assert predict(bundle, rows(10), tmp_path / "out.parquet").resumed == 0


def test_too_many_bad_rows_leave_nothing_to_go_on_with(bundle, source, tmp_path):
    table = pq.read_table(tmp_path / "in-3.parquet")
    pq.write_table(table.set_column(1, "amount", [["x"] * 10]), tmp_path / "in-3.parquet")
    with pytest.raises(DataError):
        predict(bundle, source, tmp_path / "out.parquet", max_quarantined=0)
    assert not (tmp_path / ".out.parquet.raymle").exists()
    assert predict(bundle, source, tmp_path / "out.parquet", max_quarantined=0.5).quarantined == 10


def test_a_quarantine_is_kept_from_an_unfinished_run(bundle, source, tmp_path):
    table = pq.read_table(tmp_path / "in-1.parquet")
    pq.write_table(table.set_column(1, "amount", [["x", *(["1"] * 9)]]), tmp_path / "in-1.parquet")
    stop(bundle, source, tmp_path / "out.parquet", after=4)
    done = predict(bundle, source, tmp_path / "out.parquet")
    assert (done.rows, done.quarantined) == (ROWS - 1, 1)
    assert pq.read_table(done.quarantine)["id"].to_pylist() == ["c10"]


def test_two_processes_do_not_write_the_same_output(bundle, source, tmp_path):
    (tmp_path / ".out.parquet.raymle").mkdir()
    with (
        FileLock(tmp_path / ".out.parquet.raymle" / "lock"),
        pytest.raises(ConflictError, match="another process writes"),
    ):
        predict(bundle, source, tmp_path / "out.parquet")
    assert predict(bundle, source, tmp_path / "out.parquet").rows == ROWS


def test_the_plan_knows_rows_and_what_is_done(bundle, source, tmp_path):
    from raymle.runtime import INLINE

    plan = run.plan(bundle, source, tmp_path / "out.parquet", INLINE)
    assert (plan.details, plan.seconds) == ({"rows": ROWS, "chunks": PARTS, "done": 0}, None)
    before = sorted(tmp_path.iterdir())
    assert not [path for path in before if "out" in path.name], "a plan writes nothing"
    stop(bundle, source, tmp_path / "out.parquet", after=3)
    plan = run.plan(bundle, source, tmp_path / "out.parquet", INLINE)
    assert plan.details["done"] == 3
    assert plan.seconds is not None


def test_threads_give_what_one_thread_gives(bundle, source, whole, tmp_path):
    from raymle.model import load

    made = job(bundle, source, tmp_path / "one.parquet")
    progress, _ = resume.begin(made)
    for step in inline.predicted(made, load(bundle), made.chunks, threads=1):
        progress = progress.after(step)
    finish.finish(made, progress)
    assert pq.read_table(tmp_path / "one.parquet").equals(whole)

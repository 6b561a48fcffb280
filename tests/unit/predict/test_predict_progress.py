import os
import pty
import subprocess
import sys

import pytest

from raymle.errors import DataError
from raymle.predict.parts import Receipt, Step
from raymle.predict.progress import begun, left_s, line, refuse_too_many


def receipt(chunk, rows, quarantined=0, reasons=None):
    return Receipt(model="m", chunk=chunk, rows=rows, quarantined=quarantined, reasons=reasons or {})


def test_rows_of_an_earlier_run_do_not_make_this_one_look_faster():
    progress = begun([receipt(0, 600)], 1000)
    assert left_s(progress, 0) is None
    progress = progress.after(Step(90, 10, "why")).after(Step(receipt=receipt(1, 90, 10)))
    assert (progress.done, progress.before, sorted(progress.receipts)) == (700, 600, [0, 1])
    assert left_s(progress, 10) == 30
    assert line(progress, 10) == "700 of 1,000 rows  10 rows/s  10 quarantined  about 30 s left"


def test_without_a_total_there_is_no_time_left():
    progress = begun([], None).after(Step(50))
    assert line(progress, 5) == "50 rows  10 rows/s"


def test_too_many_are_told_as_soon_as_it_is_sure():
    progress = begun([receipt(0, 80, 5, {"a": 5})], 1000).after(Step(10, 95, "b"))
    refuse_too_many(progress, 0.1)
    with pytest.raises(DataError, match=r"more than 0\.1 of the rows break the model's contract, most of them so: b"):
        refuse_too_many(progress.after(Step(0, 1, "b")), 0.1)


def test_without_a_total_too_many_are_told_at_the_end():
    progress = begun([], None).after(Step(10, 90, "b"))
    refuse_too_many(progress, 0.1)
    with pytest.raises(DataError):
        refuse_too_many(progress, 0.1, ended=True)
    refuse_too_many(begun([], 0), 0, ended=True)


def test_a_terminal_shows_a_bar_with_rows_speed_and_time_left():
    code = """
from raymle.predict.display import display
from raymle.predict.parts import Step
from raymle.predict.progress import begun
with display() as show:
    show(begun([], 1000).after(Step(250)))
"""
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", code], stderr=theirs, env=os.environ | {"COLUMNS": "100", "TERM": "xterm"}
    )
    os.close(theirs)
    assert done.wait(timeout=60) == 0
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "250 of 1,000 rows" in shown
    assert "rows/s" in shown
    assert "s left" in shown

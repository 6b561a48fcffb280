import io
import os
import pty
import re
import subprocess
import sys
import threading

import pytest
from rich.console import Console
from studies import progress, row

from raymle.tune import leaderboard
from raymle.tune.display import display

MANY = {
    "train.optimizer.learning_rate": 0.00123456, "train.optimizer.weight_decay": 0.01, "train.batch_size": 128,
    "model.type": "mlp", "model.params.hidden": [256, 128, 64], "model.params.dropout": 0.25,
    "train.loss": "a_very_long_name_of_a_loss_function",
}  # fmt: skip


def seen(study, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(leaderboard.view(study, width))
    return console.file.getvalue()


def test_the_head_says_where_the_study_stands():
    rows = [row(1, score=0.6), row(2, "stopped", 0.9, epochs=3), row(3, "running", 0.7), row(4, "failed", None)]
    text = seen(progress(*rows, trials=20, elapsed_s=83.0, minutes=30.0, dollars=0.12, max_dollars=5.0))
    for expected in (
        "trials 3/20", "1 running", "1 finished", "1 stopped early", "1 failed", "best roc_auc 0.9000 (trial 2)",
        "0:01:23 elapsed", "about 0:00:16 to go", "0:28:37 of 30 min left", "$0.12 spent", "$4.88 of $5.00 left",
    ):  # fmt: skip
        assert expected in text


def test_without_a_budget_there_is_no_word_of_one():
    text = seen(progress(row(1)))
    assert "left" not in text
    assert "$" not in text


def test_the_best_eight_lead_and_those_that_run_follow():
    ended = [row(number, score=number / 100) for number in range(1, 13)]
    text = seen(progress(*ended, row(13, "running", None, epochs=0), row(14, "running", 0.01, epochs=3)))
    table = text[text.index("trial  roc_auc") :].splitlines()[1:]
    assert [line.split()[0] for line in table] == ["12", "11", "10", "9", "8", "7", "6", "5", "13", "14"]
    assert table[0].split() == ["12", "0.1200", "finished", "10/10", "0.12"]
    assert table[-1].split() == ["14", "0.0100", "running", "3/10", "0.14"]


def test_many_that_run_are_counted():
    text = seen(progress(*(row(number, "running", None) for number in range(1, 31))))
    assert len(text.splitlines()) < 24
    assert "and 22 more that run" in text


def test_the_last_failure_tells_its_reason_as_text():
    reasons = ("first", "[bold]ValueError[/bold]: \x1b[31mtoo [fast]\nTraceback")
    text = seen(progress(*(row(place, "failed", None, reason=reason) for place, reason in enumerate(reasons, 1))))
    assert "trial 2 failed: [bold]ValueError[/bold]:  [31mtoo [fast]" in text
    assert "first" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("reason", ["no", "x" * 900])
def test_no_line_is_wider_than_the_terminal_and_the_facts_of_a_trial_are_whole(width, reason):
    rows = [
        row(1, settings=MANY),
        row(2, settings={**MANY, "train.batch_size": 64}),
        row(3, "failed", None, reason=reason),
    ]
    lines = seen(progress(*rows, minutes=30.0, max_dollars=5.0), width).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) < 16
    assert any(line.startswith("1      0.5000   finished  10/10") for line in lines)


def test_settings_that_differ_have_a_column_before_those_that_do_not():
    rows = [row(1, settings=MANY), row(2, settings={**MANY, "model.type": "trees"})]
    columns = leaderboard.settings(rows, room=40)
    assert columns[0] == ("type", ["mlp", "trees"])
    assert columns[-1][0] == "others"
    assert [name for name, _ in leaderboard.settings(rows, room=500)][1:3] == ["learning_rate", "weight_decay"]


def test_a_setting_that_only_some_trials_have_is_empty_in_the_others():
    rows = [
        row(1, settings={"model.type": "trees"}),
        row(2, settings={"model.type": "mlp", "model.params.dropout": 0.5}),
    ]
    assert leaderboard.settings(rows, room=60) == [("type", ["trees", "mlp"]), ("dropout", ["", "0.5"])]


def test_the_other_objectives_are_beside_the_score():
    assert "12.5 3" in seen(progress(row(1, score=0.9, values=(0.9, 12.5, 3.0))))


def test_where_no_terminal_is_each_trial_that_ended_has_one_line(capsys):
    with display() as show:
        show(progress(row(1, "running", None)))
        show(progress(row(1, score=0.6), row(2, "running", 0.3)))
        show(progress(row(1, score=0.6), row(2, "running", 0.4)))
        show(progress(row(1, score=0.6), row(2, "failed", None, reason="ValueError: no")))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "trial 1  0.6000  finished  10 epochs  learning_rate=0.01",
        "trial 2  -  failed    10 epochs  learning_rate=0.02: ValueError: no",
    ]


def test_trials_of_before_a_resume_are_counted_but_not_told_again(capsys):
    with display(seen=(1, 2)) as show:
        show(progress(row(1), row(2), row(3, score=0.7)))
    assert capsys.readouterr().err == "trial 3  0.7000  finished  10 epochs  learning_rate=0.03\n"


STUDY = """
import signal, sys
from raymle.tune.display import display
from studies import progress, row
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with display() as show:
    show(progress(row(1, score=0.6), row(2, "running", 0.7)))
    print("to stdout", flush=True)
    sys.stdin.readline()
    show(progress(row(1, score=0.6), row(2, score=0.8)))
print("done")
"""


def in_terminal():
    """Start a study whose stderr is a terminal of 80 columns, and return it with the terminal's other end."""
    master, slave = pty.openpty()
    study = subprocess.Popen(
        [sys.executable, "-c", STUDY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=slave, text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    os.close(slave)
    return study, master


def test_on_a_terminal_the_leaderboard_is_live_and_stdout_stays_what_it_is():
    study, terminal = in_terminal()
    told = []
    reader = threading.Thread(target=lambda: told.extend(chunks(terminal)))
    reader.start()
    out, _ = study.communicate("\n", timeout=60)
    reader.join()
    os.close(terminal)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(told).decode())
    assert out == "to stdout\ndone\n"
    assert "best roc_auc 0.8000 (trial 2)" in text
    assert "to stdout" not in text


def test_a_terminal_that_goes_away_does_not_stop_the_work():
    study, terminal = in_terminal()
    assert study.stdout.readline() == "to stdout\n"
    os.close(terminal)
    out, _ = study.communicate("\n", timeout=60)
    assert (out, study.returncode) == ("done\n", 0)


def chunks(terminal):
    while True:
        try:
            yield os.read(terminal, 4096)
        except OSError:  # the other end is closed
            return

"""The command line as a contract: help, streams, exit codes, one sentence for every error."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raymle import errors, records
from raymle.cli import app

HEAVY = ("ray", "torch", "mlflow", "pandas", "pyarrow", "numpy", "sklearn", "pydantic", "rich")
SHOWN = (
    "init", "train", "tune", "compare", "evaluate", "score", "reproduce", "promote", "rollback",
    "predict", "submit", "export", "ui", "doctor", "data", "serve", "runs",
)  # fmt: skip
LATER = ("auto", "cluster", "monitor", "capture", "audit")
SPEC = "name: churn\ndata:\n  source: churn.csv\n  target: churned\n"

TRAINED = records.Trained(
    run_id="20261123-094512-1f3a9c",
    name="churn",
    status="finished",
    task="classification",
    metric="roc_auc",
    metrics={"validation": {"roc_auc": 0.9, "accuracy": 0.8}},
    intervals={"roc_auc": (0.88, 0.92)},
    bundle="runs/x/bundle",
    splits_id="s",
    rows={"train": 80, "validation": 10, "test": 10},
    seconds={"prepare": 1.0, "train": 2.0, "evaluate": 0.5, "total": 3.5},
    execution="inline",
    model="mlp",
    parameters=1234,
)


class FakeRun(SimpleNamespace):
    record = TRAINED
    storage = "runs"
    spec = SimpleNamespace(promote=SimpleNamespace(min_fresh_rows=10))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """Stand in for raymle.api, in a folder with a spec; ``calls`` holds what was asked of it."""
    fake = SimpleNamespace(calls=[], error=None)

    def load(spec: str, *overrides: str, profile: str | None = None) -> Any:
        fake.calls.append((spec, overrides, profile))
        if fake.error:
            raise fake.error
        study = records.Study(id="st", trials=2, finished=2, failed=0, stopped_early=1)
        best = FakeRun(record=TRAINED.model_copy(update={"study": study}))
        plan = records.Plan(verb="train", what="one mlp", where="this process", why="one worker", steps=("read",))
        return SimpleNamespace(
            train=lambda key, resume, take_over: FakeRun(),
            tune=lambda key, resume, take_over: best,
            plan=lambda verb: plan,
        )

    fake.Experiment = SimpleNamespace(load=load)
    monkeypatch.setattr("raymle.api", fake, raising=False)
    monkeypatch.setitem(sys.modules, "raymle.api", fake)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raymle.yaml").write_text(SPEC)
    (tmp_path / "runs").mkdir()
    return fake


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from raymle.cli.app import run
assert run(["--help"]) == 0
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "raymle init churn.csv --target churned" in done.stdout


def test_help_shows_the_verbs_of_today_with_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([]) == 0
    text = capsys.readouterr().out
    listed = text.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.splitlines() if line] == list(SHOWN)
    assert "..." not in listed


@pytest.mark.parametrize("verb", LATER)
def test_a_verb_of_tomorrow_is_refused_in_a_sentence(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([verb, "last", "--pareto", "key=choice:1,2"]) == 2
    assert "comes in a later version" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["train", "--jsn"], "No such option: --jsn"),
        (["serve"], "Missing command"),
        (["runs"], "Missing command"),
        (["init", "x.csv"], "init needs the data and its target"),
        (["init", "--template", "tabular"], "there is no template 'tabular'"),
        (["promote", "last", "--canary", "10", "--shadow"], "--canary and --shadow do not go together"),
        (["train", "nowhere.yaml"], "there is no spec nowhere.yaml"),
        (["train", "train.epochs"], "there is no spec train.epochs"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from raymle import loader

    load = SimpleNamespace(Experiment=SimpleNamespace(load=lambda spec, *words, profile: loader.load(spec, words)))
    monkeypatch.setattr("raymle.api", load, raising=False)
    monkeypatch.setitem(sys.modules, "raymle.api", load)
    assert app.run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert "hint:" in err
    assert "Traceback" not in err


def test_the_spec_is_optional_and_overrides_follow_it(api: SimpleNamespace) -> None:
    app.run(["train"])
    app.run(["train", "train.epochs=1", "--profile", "laptop"])
    app.run(["train", "other.yaml", "train.epochs=1"])
    assert api.calls == [
        ("raymle.yaml", (), None),
        ("raymle.yaml", ("train.epochs=1",), "laptop"),
        ("other.yaml", ("train.epochs=1",), None),
    ]


def test_a_range_is_for_tune(api: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["train", "train.seed=choice:1,2"]) == 2
    assert "raymle tune" in capsys.readouterr().err
    assert app.run(["tune", "train.seed=choice:1,2"]) == 0


def test_json_is_one_stable_document_and_nothing_else(api: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["train", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["run_id", "status", "task", "metrics", "bundle", "rows", "seconds", "execution"]
    assert document["metrics"] == {"validation": {"roc_auc": 0.9, "accuracy": 0.8}}
    assert list(document["rows"]) == ["train", "validation", "test"]
    assert list(document["seconds"]) == ["prepare", "train", "evaluate", "total"]
    assert app.run(["tune", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)
    assert list(best) == [*document, "study", "epochs_saved"]
    assert list(best["study"]) == [
        "id", "trials", "finished", "failed", "stopped_early", "resumed", "epochs", "epochs_saved", "seconds", "dollars",
    ]  # fmt: skip


def test_a_person_gets_the_numbers_on_stdout_and_the_next_step_on_stderr(
    api: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["train"]) == 0
    out, err = capsys.readouterr()
    assert "roc_auc   0.9000  0.8800 to 0.9200" in out
    assert "raymle score 20261123-094512-1f3a9c" in err


def test_a_plan_is_printed_and_nothing_is_started(api: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["train", "--plan", "--json"]) == 0
    assert records.Plan.model_validate_json(capsys.readouterr().out).why == "one worker"
    assert app.run(["train", "--plan"]) == 0
    out, err = capsys.readouterr()
    assert "where: this process (one worker)" in out
    assert "nothing was started" in err


def test_what_libraries_print_stays_off_stdout(
    api: SimpleNamespace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = api.Experiment.load

    def loud(*words: Any, **named: Any) -> Any:
        sys.stdout.write("a library says hello")
        return plain(*words, **named)

    api.Experiment.load = loud
    assert app.run(["train", "--json"]) == 0
    out, err = capsys.readouterr()
    json.loads(out)
    assert "a library says hello" in err


CODES = {
    errors.UsageError: 2, errors.SpecError: 3, errors.DataError: 3, errors.WorkError: 4, errors.ArtifactError: 5,
    errors.ResourceError: 6, errors.SetupError: 7, errors.ConflictError: 8, errors.SecurityError: 9,
    errors.GateRefused: 10,
}  # fmt: skip


@pytest.mark.parametrize("kind", CODES)
def test_every_error_has_its_exit_code_and_no_traceback(
    kind: type[errors.RaymleError], api: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    api.error = kind("it is so\n  at x.yaml:1:2", hint="do that")
    assert app.run(["train"]) == CODES[kind]
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: it is so\n  at x.yaml:1:2\n  hint: do that\n")


def test_a_bug_is_told_in_a_sentence_and_shown_with_debug(
    api: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    api.error = ZeroDivisionError("division by zero")
    assert app.run(["train"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert app.run(["train", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (SystemExit(0), 4, "left the process by sys.exit(0)"),
        (BrokenPipeError(32, "Broken pipe"), 1, "this is a bug in raymle: BrokenPipeError"),
        (OSError(28, "No space left on device", "runs/x"), 6, "runs/x is full"),
        (PermissionError(13, "Permission denied", "runs/x"), 7, "runs/x cannot be written"),
    ],
)
def test_work_that_ended_otherwise_is_never_a_success(
    raised: BaseException, code: int, says: str, api: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    api.error = raised
    assert app.run(["train"]) == code
    assert says in capsys.readouterr().err


def test_ctrl_c_is_130_and_a_kill_is_143(api: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    api.error = KeyboardInterrupt()
    assert app.run(["train"]) == 130
    api.error = KeyboardInterrupt(143)
    assert app.run(["train"]) == 143
    assert "Traceback" not in capsys.readouterr().err


def test_markup_in_a_message_is_only_text(api: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    api.error = errors.DataError("column '[bold]x' is [1, 2]")
    app.run(["train"])
    assert "column '[bold]x' is [1, 2]" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m raymle --help | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("Usage: raymle")


@pytest.mark.parametrize("passed", [True, False])
def test_promote_answers_with_a_document_and_refuses_with_10(
    passed: bool, api: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    version = records.Version(
        name="churn", version="3" if passed else None, alias="champion" if passed else None,
        passed=passed, reasons=() if passed else ("It was never scored.",),
    )  # fmt: skip
    api.Run = SimpleNamespace(open=lambda ref, storage: SimpleNamespace(promote=lambda canary, shadow: version))
    assert app.run(["promote", "last", "--json"]) == (0 if passed else 10)
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["name", "version", "alias", "passed", "reasons"]
    assert app.run(["promote", "last"]) == (0 if passed else 10)
    assert ("version 3 is champion" if passed else "never scored") in capsys.readouterr().out


def test_score_has_its_shape(api: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    run = records.ScoredRun(run_id="a", metrics={"roc_auc": 0.8}, label="test")
    seal = records.Seal(rows=10, fresh=0, spent=10)
    api.score = lambda refs, storage, output: records.Scored(runs=(run,), seal=seal, entry=1)
    assert app.run(["score", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "runs": [{"run_id": "a", "metrics": {"roc_auc": 0.8}, "label": "test"}],
        "seal": {"rows": 10, "fresh": 0, "spent": 10},
    }


def test_predict_has_its_shape(api: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    def predicted(model: str, source: str, output: str, **options: Any) -> records.Predicted:
        assert options == {"storage": str(Path("runs").resolve()), "on_ray": None, "max_quarantined": 0.1}
        return records.Predicted(rows=5, output=output, seconds=0.1, quarantined=1, quarantine="out.quarantine.parquet")

    api.predict = predicted
    assert app.run(["predict", "last", "in.csv", "out.parquet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "rows": 5, "output": "out.parquet", "seconds": 0.1, "quarantined": 1, "quarantine": "out.quarantine.parquet",
    }  # fmt: skip
    assert app.run(["predict", "last", "in.csv", "out.parquet"]) == 0
    assert "1 without a prediction: out.quarantine.parquet" in capsys.readouterr().out


def test_a_verb_that_reads_makes_no_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["runs", "ls"], ["runs", "show", "last"], ["score", "last"], ["promote", "last"]):
        assert app.run(words) == 5
    assert list(tmp_path.iterdir()) == []

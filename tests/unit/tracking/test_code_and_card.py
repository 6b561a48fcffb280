import subprocess
import sys
import zipfile

import pytest
from pydantic import ValidationError

from raymle.config import Spec, TrackingConfig
from raymle.config.amount import settled_spec
from raymle.errors import UsageError
from raymle.records import ScoredRun, Seal, Trained
from raymle.store import open_store
from raymle.tracking import client, code, facts
from raymle.tracking.card import card

SPEC = Spec.model_validate({"name": "churn", "data": {"source": "churn.csv", "target": "churned"}})
TRAINED = Trained(
    run_id="20260101-000000-aaaaaa", name="churn", status="finished", task="classification", metric="roc_auc",
    metrics={"validation": {"accuracy": 0.8, "roc_auc": 0.912}}, intervals={"roc_auc": (0.9, 0.92)}, bundle="b",
    splits_id="s1", rows={"train": 8000, "validation": 1000}, seconds={"total": 1.0}, execution="inline",
    model="mlp", parameters=300, epochs=5, best_epoch=4,
)  # fmt: skip


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_code_outside_git_is_known_by_its_digest(tmp_path):
    (tmp_path / "model.py").write_text("x = 1\n")
    first = code.source_state(tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "noise.py").write_text("x = 2\n")
    (tmp_path / "data.csv").write_text("1,2\n")
    assert code.source_state(tmp_path) == first
    (tmp_path / "model.py").write_text("x = 3\n")
    assert code.source_state(tmp_path).digest != first.digest


def test_a_dirty_repository_shows_its_diff(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "model.py").write_text("x = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    clean = code.source_state(tmp_path)
    assert clean.commit
    assert (clean.dirty, clean.diff) == (False, "")
    (tmp_path / "model.py").write_text("x = 2\n")
    dirty = code.source_state(tmp_path)
    assert dirty.dirty
    assert "+x = 2" in dirty.diff


def test_the_same_sources_make_the_same_zip(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "model.py").write_text("x = 1\n")
    for name in ("one.zip", "two.zip"):
        code.source_state(folder, archive=tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert zipfile.ZipFile(tmp_path / "one.zip").namelist() == ["model.py"]


def test_the_environment_lock_names_every_package_once():
    lock = code.environment_lock()
    assert lock == sorted(set(lock))
    assert any(line.startswith("pydantic==") for line in lock)


def test_what_is_printed_is_kept_and_still_shown(tmp_path, capsys):
    with code.tee_stdout(tmp_path / "logs" / "stdout.log"):
        print("hello")  # noqa: T201
        print("careful", file=sys.stderr)  # noqa: T201
    print("after")  # noqa: T201
    assert (tmp_path / "logs" / "stdout.log").read_text() == "hello\ncareful\n"
    assert capsys.readouterr() == ("hello\nafter\n", "careful\n")


def test_the_card_says_the_verdict_first_and_how_to_reproduce_it():
    text = card(TRAINED, SPEC, seal=Seal(rows=1000, fresh=1000, spent=0))
    assert text.splitlines()[0] == "**churn: mlp reaches validation roc_auc 0.912 (0.9 to 0.92)**"
    assert "raymle reproduce 20260101-000000-aaaaaa" in text
    assert "1,000 fresh" in text
    assert "Not scored yet" in text
    assert text.index("| roc_auc |") < text.index("| accuracy |"), "the metric that decides comes first"


def test_a_scored_card_compares_with_the_champion_on_the_same_rows():
    scored = ScoredRun(run_id=TRAINED.run_id, metrics={"roc_auc": 0.9}, label="test")
    champion = {"version": "3", "run_id": "x", "metrics": {"roc_auc": 0.88}}
    text = card(TRAINED, SPEC, seal=Seal(rows=10, fresh=0, spent=10), champion=champion, scored=scored)
    assert "reaches test roc_auc 0.9" in text
    assert "differs by +0.02 from the champion, version 3" in text
    assert "no champion yet" in card(TRAINED, SPEC, champion={})
    assert "champion" not in card(TRAINED, SPEC)


@pytest.mark.parametrize(
    ("kind", "says"),
    [("mlp", "the weights of 2 workers were compared after each of 5 epochs"), ("trees", "the trees of 2 workers")],
)
def test_a_card_says_what_of_several_workers_was_compared(kind, says):
    assert says in card(TRAINED.model_copy(update={"model": kind, "workers": 2}), SPEC)
    assert "in step" not in card(TRAINED.model_copy(update={"model": kind}), SPEC)


def test_a_card_fits_into_a_tag_of_mlflow():
    many = {f"metric_{number}": 0.5 for number in range(2000)}
    assert len(card(TRAINED.model_copy(update={"metrics": {"validation": many}}), SPEC)) < 5000


def test_settings_become_flat_params():
    params = dict(facts.flat("train", settled_spec(SPEC, 100).train))
    assert params["train.optimizer.learning_rate"] == "0.001"
    assert params["train.pretrained.from"] == "null"


def test_the_address_is_the_specs_then_the_environments_then_the_storages(tmp_path, monkeypatch):
    store = open_store(str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert client.address(TrackingConfig(), store) == f"sqlite:///{store.root}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere:5000")
    assert client.address(TrackingConfig(), store) == "http://somewhere:5000"
    assert client.address(TrackingConfig(uri="https://here"), store) == "https://here"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://u:p@h/d")
    assert client.address(TrackingConfig(), store) == "postgresql+psycopg2://u:p@h/d"


@pytest.mark.parametrize("uri", ["postgresql://u:p@h/d", "http://h:5000/?token=x"])
def test_a_spec_holds_no_password(uri):
    with pytest.raises(ValidationError, match="it holds no password"):
        TrackingConfig(uri=uri)


def test_an_address_that_is_none_is_refused_without_its_password(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://me:secret@host/x")
    with pytest.raises(UsageError, match="ftp://me:\\*\\*\\*@host") as caught:
        client.address(TrackingConfig(), open_store(str(tmp_path)))
    assert "secret" not in str(caught.value)

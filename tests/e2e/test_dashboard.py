"""optuna-dashboard opens a study's journal and shows all of it."""

import io
import json

import numpy as np
import optuna_dashboard
import pyarrow as pa
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import raymle

RATE = "train.optimizer.learning_rate"
SPACE = {RATE: {"choice": [1e30, 0.3, 0.001, 0.0001]}}


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    """The journal of a study of which trials finished, were stopped, and failed."""
    folder = tmp_path_factory.mktemp("seen")
    draw = np.random.default_rng(0)
    left, right = draw.normal(size=(2, 900))
    rows = pa.table({"left": left, "right": right, "sign": np.where(left * right > 0, "+", "-")})
    experiment = raymle.Experiment(
        name="seen", data=rows, target="sign", storage=str(folder), model={"params": {"dropout": 0.0}},
        train={"epochs": 3, "batch_size": 64, "optimizer": {"type": "sgd", "clip_norm": None}, "early_stopping": None},
        tune={"algorithm": "grid", "concurrency": 1, "space": SPACE},
    )  # fmt: skip
    study = experiment.tune().record.study
    assert (study.finished > 0, study.stopped_early > 0, study.failed) == (True, True, 1)
    return folder / "studies" / study.id / "optuna.log"


def get(app, path, query=""):
    """Ask a WSGI application; return its JSON."""
    told = []
    request = {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(), "wsgi.url_scheme": "http",
    }  # fmt: skip
    body = b"".join(app(request, lambda status, headers, *_: told.append(status)))
    assert told == ["200 OK"], body
    return json.loads(body)


def test_the_dashboard_shows_the_states_and_epochs_of_all_trials(journal):
    before = journal.read_bytes()
    app = optuna_dashboard.wsgi(JournalStorage(JournalFileBackend(str(journal))))
    (summary,) = get(app, "/api/studies")["study_summaries"]
    assert summary["study_name"] == journal.parent.name
    study = get(app, "/api/studies/0", "after=0")
    states = [trial["state"] for trial in study["trials"]]
    assert len(states) == 4
    assert set(states) == {"Complete", "Pruned", "Fail"}
    for trial in study["trials"]:
        (rate,) = trial["params"]
        assert rate["name"] == RATE
        steps = [each["step"] for each in trial.get("intermediate_values", [])]
        assert steps == {"Complete": [1, 2, 3], "Pruned": [1]}.get(trial["state"], steps)
        attributes = {each["key"] for each in trial["user_attrs"]}
        assert {"run_id", "values"} <= attributes
    best = max(trial["values"][0] for trial in study["trials"] if trial["state"] == "Complete")
    assert study["best_trials"][0]["values"] == [best]
    assert journal.read_bytes() == before

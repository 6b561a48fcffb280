"""What reaches a server and the registry when two people change a model at once."""

import pytest

from raymle import rollout
from raymle.config import TrackingConfig
from raymle.errors import ConflictError
from raymle.serve import history
from raymle.serve.history import Event, Model
from raymle.store import open_store


def test_a_rollback_that_comes_second_leaves_servers_with_what_the_registry_names(tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "runs"))
    history.append(store, "churn", Event(kind="champion", model=Model(version="3", place="native/3")))

    def refuse(*_, **__):
        raise ConflictError("another promotion was first")

    monkeypatch.setattr(rollout.references, "tracking", lambda store: TrackingConfig())
    monkeypatch.setattr(rollout.registry, "champion", lambda *_: ("2", "run"))
    monkeypatch.setattr(rollout.registry, "before", lambda *_: "1")
    monkeypatch.setattr(rollout.registry, "set_alias", refuse)
    named = {"churn/1": "1", "churn@champion": "3"}
    monkeypatch.setattr(
        rollout, "_registered", lambda store, tracking, which: Model(version=named[which], place="native/x")
    )
    with pytest.raises(ConflictError):
        rollout.rollback(store, "churn")
    assert history.read(store, "churn").champion.model.version == "3"

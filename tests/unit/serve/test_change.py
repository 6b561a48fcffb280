"""A change is asked for in the history, and the answer of the replicas decides."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from raymle.errors import WorkError
from raymle.serve import change, history
from raymle.serve.history import Event, Model
from raymle.store import open_store

V1, V2 = (Model(version=str(number), place=f"native/{number}") for number in (1, 2))


class Alive(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health/live" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


@pytest.fixture
def url():
    server = HTTPServer(("127.0.0.1", 0), Alive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(tmp_path, url, monkeypatch):
    monkeypatch.setattr(change, "SETTLED_S", 0.6)
    found = open_store(str(tmp_path))
    history.append(found, "churn", Event(kind="serving", model=V1, url=url))
    return found


@pytest.fixture
def replica(store):
    """Return a function that starts a replica which answers the next change with an event of a kind."""
    ended = threading.Event()
    threads = []

    def start(kind, by="a", reason=""):
        asked = history.read(store, "churn").last + 1

        def answer():
            while not ended.wait(0.05):
                state = history.read(store, "churn")
                if state.last >= asked:
                    history.append(store, "churn", Event(kind=kind, about=asked, by=by, reason=reason))
                    return

        threads.append(threading.Thread(target=answer))
        threads[-1].start()

    yield start
    ended.set()
    for thread in threads:
        thread.join()


def test_a_version_that_all_replicas_take_is_served(store, replica):
    replica("taken", by="a")
    replica("taken", by="b")
    assert change.upgrade(store, "churn", V2).replicas == 2
    assert history.read(store, "churn").champion.model == V2


def test_a_version_that_one_replica_refuses_is_no_champion_and_its_reason_is_told(store, replica):
    replica("refused", reason="row 3 is NaN")
    with pytest.raises(WorkError, match="row 3 is NaN") as refused:
        change.upgrade(store, "churn", V2)
    assert refused.value.exit_code == 4
    assert history.read(store, "churn").champion.model == V1


def test_a_change_that_nobody_answers_is_withdrawn(store, monkeypatch):
    monkeypatch.setattr(change, "MOST_S", 0.3)
    with pytest.raises(WorkError, match="did not take the version in time"):
        change.challenge(store, "churn", V2, share=0.1, shadow=False)
    assert history.read(store, "churn").challenger is None


def test_what_is_served_already_is_not_asked_for_again(store):
    assert change.upgrade(store, "churn", V1).replicas == 0
    assert history.read(store, "churn").last == 1


def test_a_server_that_is_gone_is_told_and_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(change, "SILENT_S", 0.3)
    found = open_store(str(tmp_path))
    history.append(found, "churn", Event(kind="serving", model=V1, url="http://127.0.0.1:1"))
    assert change.upgrade(found, "churn", V2) == change.Taken(replicas=0, url="http://127.0.0.1:1")
    assert history.read(found, "churn").champion.model == V2


def test_a_server_that_only_its_storage_reaches_is_heard(replica, store):
    history.append(store, "churn", Event(kind="serving", model=V1, url="http://127.0.0.1:1"))
    replica("taken")
    assert change.upgrade(store, "churn", V2).replicas == 1


def test_what_nobody_serves_yet_is_known_to_whoever_will(tmp_path):
    found = open_store(str(tmp_path))
    assert change.upgrade(found, "churn", V2) == change.Taken(replicas=0)
    assert history.read(found, "churn").champion.model == V2


def test_a_challenger_is_asked_for_with_its_share(store, replica):
    replica("taken")
    change.challenge(store, "churn", V2, share=0.1, shadow=False)
    assert history.read(store, "churn").challenger.share == 0.1

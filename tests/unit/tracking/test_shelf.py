import os
import subprocess
import sys

import pytest

from raymle.config import Spec
from raymle.errors import ArtifactError, ConflictError
from raymle.records import Study, Trained
from raymle.store import open_store
from raymle.tracking import keys, shelf, studies

SPEC = Spec.model_validate({"name": "churn", "data": {"source": "churn.csv", "target": "churned"}})


def trained(run_id, **facts):
    base = Trained(
        run_id=run_id, name="churn", status="finished", task="classification", metric="roc_auc",
        metrics={"validation": {"roc_auc": 0.9}}, bundle="b", splits_id="s", rows={"train": 8},
        seconds={"total": 1.0}, execution="inline", model="mlp", parameters=3,
    )  # fmt: skip
    return base.model_copy(update=facts)


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path))


def put(store, *names, **facts):
    for name in names:
        shelf.save(store, trained(name, **facts), SPEC)


def test_what_is_put_on_the_shelf_comes_back(store):
    put(store, "20260101-000000-aaaaaa")
    assert shelf.load(store, "20260101-000000-aaaaaa") == trained("20260101-000000-aaaaaa")
    assert shelf.load_spec(store, "20260101-000000-aaaaaa") == SPEC


def test_the_same_record_twice_is_fine_and_another_is_a_conflict(store):
    put(store, "a")
    put(store, "a")
    with pytest.raises(ConflictError):
        put(store, "a", parameters=4)


def test_a_run_is_found_by_id_prefix_last_and_study(store):
    put(store, "20260101-000000-aaaaaa", "20260102-000000-bbbbbb")
    study = Study(id="20260103-000000-cccccc", trials=2, finished=2, failed=0, stopped_early=0)
    put(store, "20260104-000000-dddddd", study=study)
    studies.add(store, "20260104-000000-dddddd", study)
    assert shelf.find(store, "20260102-000000-bbbbbb") == "20260102-000000-bbbbbb"
    assert shelf.find(store, "20260101") == "20260101-000000-aaaaaa"
    assert shelf.find(store, "last") == "20260104-000000-dddddd"
    assert shelf.find(store, "20260103") == "20260104-000000-dddddd"
    assert [item.run_id[6:8] for item in shelf.every(store)] == ["04", "02", "01"]


def test_last_is_the_last_run_that_came_to_a_model(store):
    put(store, "1")
    put(store, "2", status="failed")
    assert shelf.find(store, "last") == "1"


@pytest.mark.parametrize(
    ("ref", "message", "hint"),
    [
        ("2026", "the start of 2 runs", "type more"),
        ("20260101-000000-aaaaab", "there is no run", "did you mean 20260101-000000-aaaaaa"),
        ("", "there is no run", "runs ls"),
    ],
)
def test_a_reference_that_names_no_single_run_says_what_is_near(store, ref, message, hint):
    put(store, "20260101-000000-aaaaaa", "20260102-000000-bbbbbb")
    with pytest.raises(ArtifactError, match=message) as caught:
        shelf.find(store, ref)
    assert hint in caught.value.hint


def test_an_empty_shelf_says_so(store):
    with pytest.raises(ArtifactError, match="there is no run in"):
        shelf.find(store, "last")


def test_a_key_belongs_to_the_first_until_it_is_freed(store):
    assert keys.claim(store, "2026-01", "a")
    assert not keys.claim(store, "2026-01", "b")
    assert keys.run_of(store, "2026-01") is None, "it has not finished"
    put(store, "a")
    assert keys.run_of(store, "2026-01") == "a"
    shelf.remove(store, "a")
    assert keys.run_of(store, "2026-01") is None
    assert keys.claim(store, "2026-01", "b")


def test_a_key_whose_process_died_is_taken_over(store):
    code = (
        "import sys; from raymle.tracking import keys, shelf, studies; from raymle.store import open_store;"
        "assert keys.claim(open_store(sys.argv[1]), 'k', 'dead')"
    )
    subprocess.run([sys.executable, "-c", code, str(store.root)], check=True, env=dict(os.environ))
    assert keys.claim(store, "k", "alive")
    put(store, "alive")
    assert keys.run_of(store, "k") == "alive"


def test_a_start_that_a_run_has_too_names_no_study(store):
    put(store, "20260104-000000-dddddd")
    study = Study(id="20260104-000000-eeeeee", trials=1, finished=1, failed=0, stopped_early=0)
    studies.add(store, "20260104-000000-dddddd", study)
    store.write_new(f"runs/{study.id}/begun.json", b"{}")
    assert studies.named(store, "20260104") is None
    assert studies.named(store, "20260104-000000-e") == study.id
    assert studies.named(store, study.id) == study.id

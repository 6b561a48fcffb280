"""The ledger keeps its promises in a folder and in a bucket: one winner a number, one test a row, no unseen edit."""

import json
import multiprocessing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from raymle.config import EvaluateConfig
from raymle.data.seal import Writer
from raymle.errors import ArtifactError
from raymle.evaluate import ledger, unseal
from raymle.records import Column, Schema, ScoredRun, Splits, Trained
from raymle.store import commit, draft_folder, open_store

SCORERS = 4
SCHEMA = Schema(
    columns=(Column(name="x", type="number", role="feature"), Column(name="y", type="boolean", role="target")),
    target="y",
    task="classification",
    classes=("false", "true"),
)


@pytest.fixture(params=["folder", "bucket"])
def where(request, tmp_path):
    """Returns ``(uri, cache)`` of a storage; each machine would have a cache of its own."""
    if request.param == "folder":
        return str(tmp_path / "runs"), None
    return f"s3://{request.getfixturevalue('bucket')}/home", tmp_path / "cache"


def add(store, *rows):
    hashes = np.array(rows, np.uint64)
    run = ScoredRun(run_id="a", metrics={"roc_auc": 0.75}, label="test")
    return ledger.append(
        store, ledger.entries(store),
        splits_id="s", label="test", rows=len(rows), spends=(hashes, hashes), columns=("x",), runs=(run,),
    )  # fmt: skip


def seal(store, ids):
    """Seal rows that are known by their id."""
    hashes = np.asarray(ids, np.uint64)
    draft = draft_folder(store.root)
    writer = Writer(draft)
    rows = pa.record_batch({"x": hashes.astype(float), "y": hashes % 2 == 0})
    writer.add(rows, hashes, hashes + np.uint64(10**6))
    writer.close()
    commit(draft, store.root / "sealed/s")
    store.publish("sealed/s")


def fake_bundle(path):
    truth = lambda table: table["y"].to_numpy(zero_copy_only=False).astype(int)  # noqa: E731
    return SimpleNamespace(
        schema=SCHEMA,
        transform=SimpleNamespace(target=truth),
        labelled=lambda raw: raw,
        predict=lambda table: np.stack([1 - truth(table) * 0.5, truth(table) * 0.5], axis=1),
    )


def scorer(where, run_id, ready, answers):
    """What each of the racing processes runs."""
    unseal.load = fake_bundle
    uri, cache = where
    store = open_store(uri, cache=cache and Path(cache) / run_id)
    store.fetch("sealed/s")
    trained = Trained(
        run_id=run_id, name="n", status="finished", task="classification", metric="roc_auc", metrics={}, bundle="",
        splits_id="s", rows={}, seconds={}, execution="inline", model="mlp", parameters=1,
    )  # fmt: skip
    ready.wait(timeout=60)
    scored = unseal.score(store, [trained], [Path("b")], config=EvaluateConfig())
    answers.put((run_id, scored.entry, scored.runs[0].label))


def test_what_was_appended_is_read_elsewhere(where):
    uri, cache = where
    add(open_store(uri, cache=cache), 1, 2)
    add(open_store(uri, cache=cache), 3)
    elsewhere = open_store(uri, cache=cache and cache / "other machine")
    assert ledger.verify(elsewhere) == 2
    spent = ledger.spent(elsewhere, ledger.entries(elsewhere))
    assert spent.identity.tolist() == [1, 2, 3]


def test_who_comes_second_with_a_number_gets_nothing(where):
    store = open_store(where[0], cache=where[1])
    stale = ledger.entries(store)
    assert add(store, 1)
    hashes = np.array([5], np.uint64)
    assert not ledger.append(
        store, stale, splits_id="s", label="test", rows=1, spends=(hashes, hashes), columns=("x",), runs=()
    )
    assert len(ledger.entries(store)) == 1


def test_an_edit_is_found(where):
    uri, cache = where
    store = open_store(uri, cache=cache)
    add(store, 1)
    add(store, 2)
    entry = {**json.loads(store.read("ledger/000001.json")), "label": "validation"}
    overwrite(store, "ledger/000001.json", json.dumps(entry).encode())
    with pytest.raises(ArtifactError, match="entry 1 was changed"):
        ledger.verify(store)


def overwrite(store, name, data):
    if "://" in store.uri:
        bucket, prefix = store.uri.removeprefix("s3://").split("/")
        store._client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=data)
    else:
        (store.root / name).write_bytes(data)


def test_of_scorers_in_many_processes_one_has_the_test_and_no_number_is_taken_twice(where):
    uri, cache = where
    store = open_store(uri, cache=cache)
    seal(store, range(1, 201))
    spawn = multiprocessing.get_context("spawn")
    ready, answers = spawn.Barrier(SCORERS), spawn.Queue()
    racers = [
        spawn.Process(target=scorer, args=((uri, cache and str(cache)), f"run-{place}", ready, answers))
        for place in range(SCORERS)
    ]
    for racer in racers:
        racer.start()
    found = [answers.get(timeout=120) for _ in racers]
    for racer in racers:
        racer.join(timeout=60)
    assert sorted(entry for _, entry, _ in found) == list(range(1, SCORERS + 1))
    assert sorted(label for _, _, label in found) == ["test"] + ["validation"] * (SCORERS - 1)
    assert ledger.verify(store) == SCORERS
    chain = ledger.entries(store)
    assert [entry.label for entry in chain] == ["test"] + ["validation"] * (SCORERS - 1)
    assert [entry.spent != "" for entry in chain] == [True] + [False] * (SCORERS - 1)
    assert receipt(store).model_dump() == {"rows": 200, "fresh": 0, "spent": 200}


def receipt(store):
    splits = Splits(id="s", path="", sealed="", data_fingerprint="", data_schema=SCHEMA, rows={}, fingerprints={})
    return unseal.receipt(store, splits, name="n")

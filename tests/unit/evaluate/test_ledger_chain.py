import json
import shutil

import numpy as np
import pytest

from raymle.errors import ArtifactError
from raymle.evaluate import ledger
from raymle.records import ScoredRun
from raymle.store import open_store


def add(store, *rows, run="run-1", label="test"):
    hashes = np.array(rows, np.uint64)
    scored = ScoredRun(run_id=run, metrics={"roc_auc": 0.75}, intervals={"roc_auc": (0.7, 0.8)}, label=label)
    return ledger.append(
        store, ledger.entries(store),
        splits_id="s", label=label, rows=len(rows), spends=(hashes, hashes + np.uint64(1000)), columns=("x",), runs=(scored,),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "runs"))


@pytest.fixture
def three(store):
    add(store, 1, 2)
    add(store, 3, run="run-2")
    add(store, run="run-1", label="validation")
    return store


def edit(store, number, **changes):
    path = store.root / f"ledger/{number:06d}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_an_empty_ledger_has_spent_nothing(store):
    assert ledger.entries(store) == []
    assert ledger.verify(store) == 0
    assert not ledger.spent(store, []).covers(np.array([1], np.uint64), np.array([2], np.uint64)).any()


def test_entries_come_back_whole_and_in_order(three):
    chain = ledger.entries(three)
    assert [entry.number for entry in chain] == [1, 2, 3]
    assert chain[0].of("run-1").intervals == {"roc_auc": (0.7, 0.8)}
    assert chain[0].of("run-2") is None
    assert ledger.verify(three) == 3


def test_a_row_is_spent_by_its_identity_or_by_its_content(three):
    spent = ledger.spent(three, ledger.entries(three))
    identity = np.array([1, 9, 9, 3, 1001], np.uint64)
    content = np.array([9, 1002, 9, 1003, 1], np.uint64)
    assert spent.covers(identity, content).tolist() == [True, True, False, True, False]


def test_the_tenth_follows_the_ninth(store):
    for number in range(11):
        add(store, number)
    assert [entry.number for entry in ledger.entries(store)] == list(range(1, 12))


def test_who_comes_second_with_a_number_gets_nothing(store):
    stale = ledger.entries(store)
    add(store, 1)
    hashes = np.array([5], np.uint64)
    late = ledger.append(
        store, stale, splits_id="s", label="test", rows=1, spends=(hashes, hashes), columns=("x",), runs=()
    )
    assert late is None
    spent = ledger.spent(store, ledger.entries(store))
    assert not spent.covers(hashes, hashes).any()


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(
    "change",
    [
        {"label": "test", "rows": 9},
        {"previous": "f" * 64},
        {"runs": []},
        {"spent": "0" * 64},
        {"digest": "f" * 64},
    ],
)
def test_an_edited_entry_is_found(three, number, change):
    edit(three, number, **change)
    with pytest.raises(ArtifactError, match=f"entry {number}"):
        ledger.verify(three)


def test_an_edited_entry_with_a_new_digest_breaks_the_chain_behind_it(three):
    first = ledger.entries(three)[0].model_copy(update={"rows": 7})
    edit(three, 1, rows=7, digest=ledger._digest(first))
    with pytest.raises(ArtifactError, match="entry 2 does not follow entry 1"):
        ledger.entries(three)


def test_a_removed_entry_is_found(three):
    (three.root / "ledger/000002.json").unlink()
    with pytest.raises(ArtifactError, match="entry 2 is missing"):
        ledger.entries(three)


def test_entries_in_another_order_are_found(three):
    folder = three.root / "ledger"
    shutil.move(folder / "000001.json", folder / "x")
    shutil.move(folder / "000002.json", folder / "000001.json")
    shutil.move(folder / "x", folder / "000002.json")
    with pytest.raises(ArtifactError, match="entry 1"):
        ledger.entries(three)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"number": 1}', "\x00"])
def test_an_entry_that_cannot_be_read_is_found(three, text):
    (three.root / "ledger/000002.json").write_text(text)
    with pytest.raises(ArtifactError, match="entry 2 cannot be read"):
        ledger.entries(three)


def test_rows_that_were_changed_or_removed_are_found(three):
    path = three.root / f"ledger/rows/000001-{ledger.entries(three)[0].spent}.npy"
    kept = path.read_bytes()
    path.write_bytes(kept[:-1] + b"\x07")
    with pytest.raises(ArtifactError, match="rows that entry 1 spent"):
        ledger.verify(three)
    path.unlink()
    with pytest.raises(ArtifactError, match=path.name):
        ledger.verify(three)


def test_other_files_in_the_folder_do_not_matter(three):
    (three.root / "ledger/notes.txt").write_text("x")
    assert ledger.verify(three) == 3

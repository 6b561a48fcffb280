"""How a run is made again: with the code that was recorded, and as far as it went."""

from types import SimpleNamespace

import pytest

from raymle.config import ModelConfig, Spec
from raymle.config.data import TextConfig
from raymle.errors import DataError, ResourceError
from raymle.records import Epoch, Fitted, Schema, Splits
from raymle.reproduce import outcome
from raymle.reproduce.again import again
from raymle.reproduce.scratch import scratch, tried
from raymle.store import open_store
from raymle.tracking import origin

COUNTS = {"train": 1, "validation": 1, "test": 1}
SPLITS = Splits(
    id="s", path="", sealed="", data_fingerprint="f", rows=COUNTS, fingerprints=dict.fromkeys(COUNTS, "d"),
    data_schema=Schema(columns=(), target="y", task="regression"),
)  # fmt: skip


@pytest.fixture
def made(tmp_path):
    """Code that was recorded: the storage, the facts, the folder that it was in, and a fresh one."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "net.py").write_text("a = 1\n")
    spec = Spec.model_validate({"name": "n", "data": {"source": "d", "target": "y"}, "folder": str(folder)})
    store = open_store(str(tmp_path / "runs"))
    (tmp_path / "fresh").mkdir()
    return store, origin.keep(store, "r", spec, SPLITS), folder, tmp_path / "fresh"


def test_code_is_unpacked_and_held_against_the_folder_that_it_was_in(made):
    store, facts, folder, fresh = made
    (folder / "other.py").write_text("b = 1\n")
    check = outcome.source(store, "r", facts, str(folder), fresh)
    assert (check.verdict, check.detail) == ("same", "1 files, no commit; changed since: other.py")
    assert (fresh / "net.py").read_text() == "a = 1\n"


def test_a_folder_on_another_machine_is_no_failure(made):
    store, facts, _, fresh = made
    check = outcome.source(store, "r", facts, "/not/here", fresh)
    assert (check.verdict, check.detail) == ("same", "1 files, no commit; /not/here is not on this machine")


def test_code_without_its_digest_is_not_the_same(made):
    store, facts, folder, fresh = made
    other = facts.model_copy(update={"digest": "0" * 64})
    assert outcome.source(store, "r", other, str(folder), fresh).verdict == "differs"


def test_a_model_that_was_read_from_elsewhere_must_be_the_same(tmp_path):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "words.json").write_text("{}")
    spec = Spec.model_validate(
        {
            "name": "n",
            "data": {"source": "d", "target": "y", "text": {"tokenizer": "words.json"}},
            "model": {"type": f"hf:{tmp_path / 'bert'}"},
            "folder": str(tmp_path),
        }
    )
    store = open_store(str(tmp_path / "runs"))
    facts = origin.keep(store, "r", spec, SPLITS)
    assert outcome.source(store, "r", facts, str(tmp_path), tmp_path / "one").verdict == "same"
    (tmp_path / "bert" / "model.safetensors").write_bytes(b"other weights")
    check = outcome.source(store, "r", facts, str(tmp_path), tmp_path / "two")
    assert check.verdict == "differs"
    assert "model.safetensors has changed: sha256 " in check.detail
    (tmp_path / "words.json").unlink()
    check = outcome.source(store, "r", facts, str(tmp_path), tmp_path / "three")
    assert "words.json is not there any more" in check.detail


@pytest.mark.parametrize(("last", "epochs"), [(2, 2), (None, 5), (5, 5)])
def test_a_training_ends_where_the_recorded_one_was_stopped(last, epochs):
    def training():
        for number in range(1, 6):
            if (yield Epoch(epoch=number, step=number, metrics={})):
                break
        return Fitted(bundle="", parameters=1, epochs=number, best_epoch=1, seconds=0, metrics={})

    assert outcome.follow(training(), last, 5).epochs == epochs


def test_room_to_work_in_goes_when_the_work_fails(tmp_path):
    def work():
        with scratch(open_store(str(tmp_path)), shared=True) as room:
            (room.store.root / "shards").mkdir()
            (room.code / "net.py").touch()
            tried(lambda: fails(ResourceError("too small")))

    with pytest.raises(ResourceError):
        work()
    assert list(tmp_path.iterdir()) == []


def test_a_failure_of_the_run_is_an_answer_and_one_of_the_machine_is_not():
    assert tried(lambda: 1) == (1, "")
    assert tried(lambda: fails(DataError("no rows"))) == (None, "no rows")
    assert tried(lambda: fails(KeyError("a"))) == (None, "KeyError: 'a'")
    with pytest.raises(OSError, match="full"):
        tried(lambda: fails(OSError(28, "the disk is full")))


def fails(error):
    raise error


def test_files_that_are_no_code_are_read_where_they_were(tmp_path):
    """The recorded code is unpacked elsewhere, and relative paths would start there."""
    named = {"source": "a.csv", "target": "t", "text": {"tokenizer": "it/tokenizer.json"}}
    spec = Spec.model_validate({"name": "a", "data": named, "model": {"type": "hf:it"}, "folder": str(tmp_path)})
    made = again(spec, SimpleNamespace(workers=2))
    assert made.train.workers == 2
    assert made.data.source == str(tmp_path / "a.csv")
    assert made.data.text.tokenizer == str(tmp_path / "it/tokenizer.json")
    assert made.model.type == f"hf:{tmp_path / 'it'}"
    plain = spec.model_copy(
        update={"data": spec.data.model_copy(update={"text": TextConfig()}), "model": ModelConfig()}
    )
    assert again(plain, SimpleNamespace(workers=1)).data.text.tokenizer is None

"""What a run was made of comes back from the storage, and from the commit."""

import subprocess

import pytest

from raymle.config import Spec
from raymle.errors import ArtifactError
from raymle.records import Reproduced, Schema, Splits
from raymle.store import open_store
from raymle.tracking import code, git, notes, origin
from raymle.tracking.card import stamped

COUNTS = {"train": 1, "validation": 1, "test": 1}
SPLITS = Splits(
    id="s", path="", sealed="", data_fingerprint="f", rows=COUNTS, fingerprints=dict.fromkeys(COUNTS, "d"),
    data_schema=Schema(columns=(), target="y", task="regression"),
)  # fmt: skip
PASSED = Reproduced(run_id="r", verdict="PASS", checks=(), seconds=1, at="2026-11-24T10:00:00Z")


def call(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path):
    """A spec's folder below the root of a repository, with a change that is not committed."""
    folder = tmp_path / "repository" / "deep"
    folder.mkdir(parents=True)
    (folder / "net.py").write_text("a = 1\nb = 2\n")
    (folder / "same.py").write_text("x = 1\n")
    call(tmp_path / "repository", "init", "-q")
    call(tmp_path / "repository", "add", ".")
    call(tmp_path / "repository", "commit", "-qm", "one")
    (folder / "net.py").write_bytes(b"a = 1\r\nb = 3\n")
    (folder / "new.py").write_text("y = 1\n")
    return folder


def kept(project, tmp_path):
    store = open_store(str(tmp_path / "runs"))
    spec = Spec.model_validate({"name": "n", "data": {"source": "d", "target": "y"}, "folder": str(project)})
    return store, origin.keep(store, "r", spec, SPLITS)


def test_the_recorded_code_comes_back_with_its_digest_whatever_became_of_the_folder(project, tmp_path):
    store, found = kept(project, tmp_path)
    assert origin.load(store, "r") == found
    assert (found.dirty, found.data_fingerprint, found.splits["test"]) == (True, "f", "d")
    (project / "net.py").write_text("edited")
    origin.unpack(store, "r", tmp_path / "fresh")
    names = code.sources(tmp_path / "fresh")
    assert names == ["net.py", "new.py", "same.py"]
    assert code.digest(tmp_path / "fresh", names) == found.digest


def test_a_commit_and_what_was_not_committed_give_the_tracked_files(project, tmp_path):
    store, found = kept(project, tmp_path)
    diff = origin.unpack(store, "r", tmp_path / "fresh")
    files = git.restored(project, found.commit, diff, code.sources(tmp_path / "fresh"))
    assert files == {"net.py": b"a = 1\r\nb = 3\n", "same.py": b"x = 1\n"}
    assert git.restored(project, found.commit, "", ["net.py"]) == {"net.py": b"a = 1\nb = 2\n"}


def test_git_that_cannot_say_is_no_failure(project, tmp_path):
    assert git.restored(project, "0" * 40, "", ["net.py"]) is None
    assert git.restored(tmp_path, "0" * 40, "", ["net.py"]) is None
    assert git.restored(tmp_path / "nowhere", "0" * 40, "", ["net.py"]) is None


def test_facts_that_are_not_there_or_damaged_are_told(project, tmp_path):
    store, _ = kept(project, tmp_path)
    with pytest.raises(ArtifactError, match="does not know what run other was made of"):
        origin.load(store, "other")
    (store.root / origin.folder("r") / origin.FACTS).write_text("{}")
    with pytest.raises(ArtifactError, match=r"provenance.json is damaged"):
        origin.load(store, "r")


def test_a_damaged_archive_is_told(project, tmp_path):
    store, _ = kept(project, tmp_path)
    archive = store.root / origin.folder("r") / origin.ARCHIVE
    archive.write_bytes(b"x" * archive.stat().st_size)
    with pytest.raises(ArtifactError, match=r"source.zip is damaged"):
        origin.unpack(store, "r", tmp_path / "fresh")


def test_the_last_card_and_the_last_verdict_count(tmp_path):
    store = open_store(str(tmp_path))
    assert (notes.card(store, "r"), notes.reproduced(store, "r")) == ("", None)
    for number in range(11):
        notes.keep_card(store, "r", f"card {number}")
    notes.keep_reproduced(store, PASSED.model_copy(update={"verdict": "FAIL"}))
    notes.keep_reproduced(store, PASSED)
    assert (notes.card(store, "r"), notes.reproduced(store, "r")) == ("card 10", PASSED)


def test_a_card_says_below_its_first_line_whether_the_run_was_reproduced():
    assert stamped("**good**\n\nrest\n\nmore", None) == "**good**\n\nrest\n\nmore"
    lines = stamped("**good**\n\nrest\n\nmore", PASSED).split("\n\n")
    assert lines == ["**good**", "Reproduced: **PASS** on 2026-11-24", "rest", "more"]
    assert "PASS" in stamped("**good**\n\n" + "x" * 9000, PASSED)

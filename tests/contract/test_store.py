"""One home of an experiment, in a folder and in a bucket: whole or not at all, created once, checked when fetched."""

import json
import multiprocessing

import pytest

from raymle.errors import ArtifactError, ConflictError, SecurityError, UsageError
from raymle.store import MANIFEST, commit, draft_folder, open_store, verify

WRITERS = 4


@pytest.fixture(params=["folder", "bucket"])
def elsewhere(request, tmp_path):
    """Opens the storage as another machine would, with a working copy of its own."""
    uri = f"s3://{request.getfixturevalue('bucket')}/home" if request.param == "bucket" else str(tmp_path / "home")
    return lambda name="here": open_store(uri, cache=tmp_path / name)


def put(store, name, files):
    draft = draft_folder(store.root)
    for path, text in files.items():
        (draft / path).parent.mkdir(parents=True, exist_ok=True)
        (draft / path).write_text(text)
    commit(draft, store.root / name)
    store.publish(name)


def test_an_object_is_created_once_and_read_anywhere(elsewhere):
    assert elsewhere().write_new("ledger/1", b"first")
    assert not elsewhere("there").write_new("ledger/1", b"second")
    assert elsewhere("there").read("ledger/1") == b"first"


def write(store, number, ready, answers):
    ready.wait(timeout=60)
    answers.put((number, store().write_new("ledger/1", str(number).encode())))


def test_of_writers_at_one_time_one_wins(elsewhere):
    fork = multiprocessing.get_context("fork")
    ready, answers = fork.Barrier(WRITERS), fork.Queue()
    writers = [fork.Process(target=write, args=(elsewhere, each, ready, answers)) for each in range(WRITERS)]
    for each in writers:
        each.start()
    found = dict(answers.get(timeout=60) for _ in writers)
    for each in writers:
        each.join(timeout=60)
    winners = [number for number, won in found.items() if won]
    assert len(winners) == 1
    assert elsewhere().read("ledger/1") == str(winners[0]).encode()


def test_names_are_those_directly_under_a_prefix(elsewhere):
    store = elsewhere()
    for name in ("runs/b/x", "runs/a/deep/x", "runs/c", "other/d"):
        store.write_new(name, b"")
    assert elsewhere("there").names("runs") == ["a", "b", "c"]
    assert elsewhere().names("nothing") == []


def test_a_published_folder_is_fetched_whole_elsewhere(elsewhere):
    put(elsewhere(), "bundles/a", {"weights": "1 2 3", "code/net.py": "pass"})
    found = elsewhere("there").fetch("bundles/a")
    assert (found / "weights").read_text() == "1 2 3"
    assert (found / "code/net.py").read_text() == "pass"
    verify(found, deep=True)


def test_a_folder_without_its_manifest_does_not_exist(elsewhere):
    store = elsewhere()
    store.write_new("bundles/a/weights", b"half")
    with pytest.raises(ArtifactError):
        elsewhere("there").fetch("bundles/a")


def test_what_is_removed_is_gone_everywhere(elsewhere):
    put(elsewhere(), "bundles/a", {"weights": "1"})
    elsewhere().remove("bundles/a")
    elsewhere().remove("bundles/a")
    with pytest.raises(ArtifactError):
        elsewhere("there").fetch("bundles/a")


def test_what_is_not_there_is_named(elsewhere):
    with pytest.raises(ArtifactError, match="runs/none is not in the storage"):
        elsewhere().read("runs/none")


def test_a_folder_is_committed_once(tmp_path):
    store = open_store(str(tmp_path))
    put(store, "a", {"x": "first"})
    with pytest.raises(ConflictError, match="a is there already"):
        put(store, "a", {"x": "second"})
    assert (tmp_path / "a/x").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("harm", ["missing", "longer", "changed", "no manifest"])
def test_damage_is_found(tmp_path, harm):
    store = open_store(str(tmp_path))
    put(store, "a", {"x": "12345"})
    match harm:
        case "missing":
            (tmp_path / "a/x").unlink()
        case "longer":
            (tmp_path / "a/x").write_text("123456")
        case "changed":
            (tmp_path / "a/x").write_text("12346")
        case "no manifest":
            (tmp_path / "a" / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match=r"is damaged|is not whole"):
        verify(tmp_path / "a", deep=True)


@pytest.mark.parametrize("way", ["..", "absolute", "link", "linked folder"])
def test_a_manifest_that_leads_out_of_its_folder_is_refused(tmp_path, way):
    store = open_store(str(tmp_path))
    put(store, "a", {"x": "12345"})
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_text("12345")
    names = {"..": "../outside/x", "absolute": str(tmp_path / "outside/x"), "link": "y", "linked folder": "z/x"}
    (tmp_path / "a/y").symlink_to(tmp_path / "a/x")
    (tmp_path / "a/z").symlink_to(tmp_path / "outside")
    manifest = tmp_path / "a" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"x"', json.dumps(names[way])))
    with pytest.raises(SecurityError, match="is not a file of that folder"):
        verify(tmp_path / "a", deep=True)


def test_a_manifest_of_a_newer_format_says_so(tmp_path):
    put(open_store(str(tmp_path)), "a", {"x": "12345"})
    manifest = tmp_path / "a" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(ArtifactError, match="format 9, a newer one"):
        verify(tmp_path / "a", deep=True)


def test_other_schemes_are_refused():
    with pytest.raises(UsageError, match="not a folder or an s3:// address"):
        open_store("ftp://somewhere/home")

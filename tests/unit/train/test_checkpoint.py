"""A checkpoint is whole or not there: whatever stops its writing, whatever becomes of its files."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymle.errors import ArtifactError, ResourceError
from raymle.store import open_store
from raymle.train import checkpoint
from raymle.train.checkpoint import Position, State

FOLDER = checkpoint.folder_of("run")
WRITES = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")


def state(value):
    return State({"weight": torch.full((50,), float(value)), "rng": torch.arange(9, dtype=torch.uint8)}, {"at": value})


def save(store, value):
    checkpoint.save(store, FOLDER, Position(value, 0), state(value))


def newest(store):
    """Return what would be gone on from, and how many newer ones were skipped."""
    found = checkpoint.newest(store, FOLDER)
    loaded = checkpoint.load(store, FOLDER, found.position) if found.position else None
    if loaded:
        assert torch.equal(loaded.tensors["weight"], state(loaded.facts["at"]).tensors["weight"])
    return (loaded.facts["at"] if loaded else None), len(found.skipped)


def test_what_is_saved_comes_back_and_two_are_kept(tmp_path):
    store = open_store(str(tmp_path))
    assert newest(store) == (None, 0)
    for value in (1, 2, 3):
        save(store, value)
    assert newest(store) == (3, 0)
    assert checkpoint.positions(store, FOLDER) == [Position(3, 0), Position(2, 0)]
    checkpoint.forget(store, "run")
    assert not (tmp_path / FOLDER).exists()


def test_positions_sort_by_time_and_read_well():
    later = [Position(1, 20), Position(2, 0), Position(2, 3), Position(10, 0)]
    assert sorted(position.name for position in later) == [position.name for position in later]
    assert [str(position) for position in later[:2]] == ["epoch 2, step 20", "epoch 2"]
    assert all(Position.of(position.name) == position for position in later)


def killed_at(store, value, event_number):
    """Save in a child that is killed at its n-th change of the disk; return whether it lived to the end."""
    child = os.fork()
    if child == 0:
        left = [event_number]

        def audit(name, arguments):
            is_read = name == "open" and (not isinstance(arguments[1], str) or not set(arguments[1]) & set("wax+"))
            if name not in WRITES or is_read:
                return
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(audit)
        try:
            save(store, value)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_kill_at_every_write_leaves_the_old_or_the_new_checkpoint(tmp_path):
    outcomes = []
    for event in range(200):
        store = open_store(str(tmp_path / str(event)))
        save(store, 1)
        save(store, 2)
        lived = killed_at(store, 3, event)
        outcomes.append(newest(store))
        checkpoint.clear_drafts(store, FOLDER)
        save(store, 4)
        assert newest(store) == (4, 0)
        assert not list((store.root / FOLDER).glob(".tmp-*"))
        if lived:
            break
    assert lived
    assert len(outcomes) > 8  # there are that many moments
    assert set(outcomes) == {(2, 0), (3, 0)}


def damage(path, how, where):
    data = path.read_bytes()
    place = int(where * len(data))
    if how == "truncate":
        path.write_bytes(data[:place])
    elif how == "flip":
        path.write_bytes(data[:place] + bytes([data[min(place, len(data) - 1)] ^ 1]) + data[place + 1 :])
    elif how == "append":
        path.write_bytes(data + b"x")
    elif how == "zero":
        path.write_bytes(bytes(len(data)))
    else:
        path.unlink()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    store = open_store(str(folder))
    save(store, 1)
    save(store, 2)
    return folder


FILES = (checkpoint.STATE, checkpoint.FACTS, "MANIFEST.json")


@settings(max_examples=500)
@given(
    file=st.sampled_from(FILES),
    how=st.sampled_from(["truncate", "flip", "append", "zero", "delete", "swap"]),
    where=st.floats(0, 0.999),
)
def test_any_damage_is_found_and_the_checkpoint_before_is_taken(two, tmp_path_factory, file, how, where):
    root = tmp_path_factory.getbasetemp() / "damaged"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(two, root)
    folder = root / FOLDER / Position(2, 0).name
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    if how == "swap":
        other = FILES[(FILES.index(file) + 1) % 3]
        (folder / file).write_bytes(before[other])
        (folder / other).write_bytes(before[file])
    else:
        damage(folder / file, how, where)
    found = newest(open_store(str(root)))
    same_meaning = file == "MANIFEST.json" and how in {"append", "flip", "truncate"}
    assert found == (1, 1) or (same_meaning and found == (2, 0))


def test_when_all_are_damaged_nothing_starts_silently_anew(tmp_path):
    store = open_store(str(tmp_path))
    for value in (1, 2):
        save(store, value)
    for position in checkpoint.positions(store, FOLDER):
        damage(tmp_path / FOLDER / position.name / checkpoint.STATE, "flip", 0.5)
    with pytest.raises(ArtifactError, match=r"every checkpoint of run run is damaged: .*000002.*000001") as caught:
        checkpoint.required(store, "run")
    assert "train anew" in caught.value.hint


def test_a_damaged_checkpoint_is_written_again(tmp_path):
    store = open_store(str(tmp_path))
    save(store, 1)
    damage(tmp_path / FOLDER / Position(1, 0).name / checkpoint.FACTS, "delete", 0)
    save(store, 1)
    assert newest(store) == (1, 0)


def test_what_was_skipped_does_not_push_out_what_is_whole(tmp_path):
    store = open_store(str(tmp_path))
    for value in (8, 9, 10):
        checkpoint.save(store, FOLDER, Position(value, 0), state(value))
        shutil.copytree(tmp_path / FOLDER, tmp_path / "kept", dirs_exist_ok=True)
    shutil.copytree(tmp_path / "kept", tmp_path / FOLDER, dirs_exist_ok=True)
    for value in (9, 10):
        damage(tmp_path / FOLDER / Position(value, 0).name / checkpoint.STATE, "flip", 0.5)
    assert newest(store) == (8, 2)
    checkpoint.save(store, FOLDER, Position(8, 500), state(8))
    assert checkpoint.positions(store, FOLDER) == [Position(8, 500), Position(8, 0)]
    assert newest(store) == (8, 0)


def test_weights_that_are_not_in_one_piece_are_kept(tmp_path):
    store = open_store(str(tmp_path))
    turned = torch.arange(6.0).reshape(2, 3).t()
    checkpoint.save(store, FOLDER, Position(1, 0), State({"turned": turned}, {}))
    assert torch.equal(checkpoint.load(store, FOLDER, Position(1, 0)).tensors["turned"], turned)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk_is_told_and_the_checkpoint_before_stays(tmp_path):
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("this container may not mount")
    try:
        store = open_store(str(tmp_path))
        save(store, 1)
        large = State({"weight": torch.zeros(200_000)}, {"at": 2})
        with pytest.raises(ResourceError, match="cannot be written") as caught:
            checkpoint.save(store, FOLDER, Position(2, 0), large)
        assert "the checkpoint before this one is whole" in caught.value.hint
        assert newest(store) == (1, 0)
        assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [Position(1, 0).name]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_another_networks_tensors_are_named_with_their_shapes():
    here = {"a": torch.zeros(2, 3), "b": torch.zeros(4)}
    assert checkpoint.misfits(here, dict(here)) == []
    assert checkpoint.misfits(here, {"a": torch.zeros(3, 3), "c": torch.zeros(1)}) == [
        "a is [3, 3] there and [2, 3] here",
        "b is not there and [4] here",
        "c is [1] there and not here",
    ]


def test_nothing_in_a_checkpoint_is_pickled(tmp_path):
    store = open_store(str(tmp_path))
    save(store, 1)
    for path in Path(tmp_path / FOLDER).rglob("*"):
        assert path.suffix in {"", ".json", ".safetensors"}

"""Where a verb runs follows from the spec, the environment and the source, in that order."""

import pytest

from raymle import runtime
from raymle.config import ClusterConfig
from raymle.errors import UsageError

GIB = 2**30


@pytest.mark.parametrize(
    ("address", "environment", "facts", "kind", "where", "why"),
    [
        ("auto", None, {}, "inline", None, "one worker, a local source under 1 GiB"),
        ("auto", None, {"needs_ray": "train.workers is 2"}, "ray", "local", "train.workers is 2"),
        ("auto", None, {"decoded_bytes": 3 * GIB}, "ray", "local", "the source is 3.0 GiB"),
        ("auto", None, {"remote": True}, "ray", "local", "the source is in an object store"),
        ("auto", "10.0.0.1:6379", {}, "ray", "10.0.0.1:6379", "RAY_ADDRESS is set, as it is inside a Ray job"),
        ("inline", "10.0.0.1:6379", {"decoded_bytes": 3 * GIB}, "inline", None, "cluster.address is inline"),
        ("local", "10.0.0.1:6379", {}, "ray", "local", "cluster.address is local"),
        ("ray://far:10001", None, {}, "ray", "ray://far:10001", "cluster.address names it"),
    ],
)
def test_the_decision_and_its_reason(monkeypatch, address, environment, facts, kind, where, why):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if environment:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    found = runtime.decide(ClusterConfig(address=address), **facts)
    assert (found.kind, found.address, found.why) == (kind, where, why)


def test_only_a_large_or_remote_source_is_spread_over_ray_data():
    local = ClusterConfig(address="local")
    assert not runtime.decide(local, decoded_bytes=GIB - 1).large
    assert runtime.decide(local, decoded_bytes=GIB).large
    assert runtime.decide(local, remote=True).large


def test_what_needs_ray_cannot_be_inline():
    with pytest.raises(UsageError, match=r"cluster.address is inline, but train.workers is 2"):
        runtime.decide(ClusterConfig(address="inline"), needs_ray="train.workers is 2")


def test_inline_starts_no_ray():
    with runtime.connected(runtime.INLINE):
        import ray

        assert not ray.is_initialized()


def test_what_a_killed_process_left_goes_and_what_lives_or_is_new_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(runtime, "NEW_S", -1)
    dead, foreign = tmp_path / "raymle-dead", tmp_path / "raymle-unlocked"
    for folder in (dead, foreign):
        folder.mkdir()
    (dead / runtime.ALIVE).touch()
    with runtime.scratch() as mine:
        with runtime.scratch() as other:
            assert mine.exists()
            assert other.exists()
        assert not other.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["raymle-unlocked"]
    monkeypatch.setattr(runtime, "NEW_S", 60)
    dead.mkdir()
    (dead / runtime.ALIVE).touch()
    with runtime.scratch():
        assert dead.exists()

"""What Horovod's workers are told, where `make horovod` has built it."""

import pytest

pytest.importorskip("horovod.torch", reason="`make horovod` builds it")


def test_every_rank_has_its_place_in_the_world():
    from raymle.train.backends.horovod import plan

    found = plan(["a", "b", "a"])
    assert [(each["RANK"], each["LOCAL_RANK"], each["CROSS_RANK"]) for each in found] == [
        ("0", "0", "0"), ("1", "0", "1"), ("2", "1", "0"),
    ]  # fmt: skip
    assert [(each["SIZE"], each["LOCAL_SIZE"], each["CROSS_SIZE"]) for each in found] == [
        ("3", "2", "2"), ("3", "1", "2"), ("3", "2", "1"),
    ]  # fmt: skip

"""Two workers that agree by Horovod, where `make horovod` has built it."""

import numpy as np
import pytest
from helpers import FAILING_NET, fit
from safetensors.numpy import load_file

from raymle import runtime
from raymle.config import ClusterConfig
from raymle.errors import WorkError

pytest.importorskip("horovod.torch", reason="`make horovod` builds it")


@pytest.fixture(scope="module")
def cluster():
    with runtime.connected(runtime.decide(ClusterConfig(address="local"))):
        yield


def weights(folder):
    return load_file(folder / "weights.safetensors")


def test_horovod_ends_at_the_weights_that_ddp_ends_at(cluster, splits, tmp_path):
    reports, fitted = fit(splits, tmp_path / "horovod", workers=2, backend="horovod")
    theirs, _ = fit(splits, tmp_path / "ddp", workers=2)
    assert fitted.workers == 2
    for ours, other in zip(reports, theirs, strict=True):
        assert ours.metrics["train_loss"] == pytest.approx(other.metrics["train_loss"], rel=1e-6)
    mine, other = weights(tmp_path / "horovod"), weights(tmp_path / "ddp")
    for name, values in mine.items():
        np.testing.assert_allclose(values, other[name], atol=1e-6)


def test_a_worker_that_fails_is_a_work_error_with_its_reason(cluster, splits, tmp_path):
    (tmp_path / "net_that_fails_late.py").write_text(FAILING_NET)
    with pytest.raises(WorkError, match=r"worker . failed: ValueError: a shape that does not fit"):
        fit(splits, tmp_path / "bundle", tmp_path, "net_that_fails_late:make", {}, workers=2, backend="horovod")


def test_every_rank_has_its_place_in_the_world():
    from raymle.train.backends.horovod import plan

    found = plan(["a", "b", "a"])
    assert [(each["RANK"], each["LOCAL_RANK"], each["CROSS_RANK"]) for each in found] == [
        ("0", "0", "0"), ("1", "0", "1"), ("2", "1", "0"),
    ]  # fmt: skip
    assert [(each["SIZE"], each["LOCAL_SIZE"], each["CROSS_SIZE"]) for each in found] == [
        ("3", "2", "2"), ("3", "1", "2"), ("3", "2", "1"),
    ]  # fmt: skip

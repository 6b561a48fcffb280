"""Two workers on Ray Train."""

import numpy as np
import pyarrow as pa
import pytest
from helpers import fit

from raymle import model, runtime
from raymle.config import ClusterConfig
from raymle.errors import ResourceError


@pytest.fixture(scope="module")
def cluster():
    with runtime.connected(runtime.decide(ClusterConfig(address="local"))):
        yield


def test_two_workers_give_what_one_gives(cluster, splits, tmp_path):
    alone, one = fit(splits, tmp_path / "one")
    reports, two = fit(splits, tmp_path / "two", workers=2)
    assert [report.epoch for report in reports] == [1, 2, 3]
    assert two.workers == 2
    for ours, theirs in zip(alone, reports, strict=True):
        assert theirs.metrics["roc_auc"] == pytest.approx(ours.metrics["roc_auc"], abs=1e-3)
        assert theirs.metrics["train_loss"] == pytest.approx(ours.metrics["train_loss"], rel=1e-3)
    first, second = (model.load(fitted.bundle) for fitted in (one, two))
    rows = pa.table({"number": [0.1, 2.0, None], "colour": ["red", "blue", None]})
    np.testing.assert_allclose(first.predict(rows), second.predict(rows), atol=1e-3)


def test_more_workers_than_cpus_are_refused_with_the_arithmetic(cluster, splits, tmp_path):
    with pytest.raises(ResourceError, match="64 workers x 1 CPU are more than"):
        fit(splits, tmp_path / "bundle", workers=64)

"""Two workers on Ray Train."""

import numpy as np
import pyarrow as pa
import pytest
from helpers import fit

from raymle import model, runtime
from raymle.config import ClusterConfig
from raymle.errors import ResourceError, WorkError


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


LOOP = """
import torch
from torch.nn import functional
def loop(context):
    optimizer = torch.optim.SGD(context.model.parameters(), lr=0.1)
    rows, world = context.train, context.world
    mine = slice(world.rank, None, world.size)
    for epoch in range(3):
        optimizer.zero_grad()
        outputs = context.model(torch.tensor(rows.numbers[mine]), torch.tensor(rows.codes[mine]).long())
        functional.cross_entropy(outputs, torch.tensor(rows.target[mine])).backward()
        AGREE
        optimizer.step()
        yield context.report()
"""


def test_a_loop_of_the_users_own_runs_on_every_worker(cluster, splits, tmp_path):
    agree = "world.average(list(context.model.parameters()))"
    (tmp_path / "mine_in_step.py").write_text(LOOP.replace("AGREE", agree))
    reports, fitted = fit(splits, tmp_path / "bundle", tmp_path, workers=2, loop="mine_in_step:loop")
    assert (len(reports), fitted.workers) == (3, 2)
    assert reports[2].metrics["validation_loss"] < reports[0].metrics["validation_loss"]


def test_a_loop_whose_workers_do_not_agree_is_found_out(cluster, splits, tmp_path):
    (tmp_path / "mine_apart.py").write_text(LOOP.replace("AGREE", "pass"))
    with pytest.raises(WorkError, match=r"worker 1 of 2 is out of step with worker 0 in .*weight.*, after epoch 1"):
        fit(splits, tmp_path / "bundle", tmp_path, workers=2, loop="mine_apart:loop")


def test_more_workers_than_cpus_are_refused_with_the_arithmetic(cluster, splits, tmp_path):
    with pytest.raises(ResourceError, match="64 workers x 1 CPU are more than"):
        fit(splits, tmp_path / "bundle", workers=64)

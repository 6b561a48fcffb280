"""Workers that are killed, hang, or lose their machine, on a real Ray."""

import os
import signal

import pytest
import torch
from helpers import drain, until_kept, workers
from safetensors.torch import load_file

from raymle import runtime, train
from raymle.config import ClusterConfig, ModelConfig, TrainConfig
from raymle.errors import WorkError
from raymle.store import open_store
from raymle.train import checkpoint

SLOW = {"epochs": 24, "batch_size": 16, "early_stopping": None, "optimizer": {"schedule": "cosine"}}
HANGING_NET = """
import time, torch
class Net(torch.nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer, self.calls = torch.nn.Linear(inputs.numbers, outputs), 0
    def forward(self, numbers, categories):
        self.calls += 1
        if self.calls == 40 and torch.distributed.is_initialized() and torch.distributed.get_rank() == 1:
            time.sleep(3600)
        return self.layer(numbers)
def make(inputs, outputs): return Net(inputs, outputs)
"""


@pytest.fixture(scope="module")
def cluster():
    with runtime.connected(runtime.decide(ClusterConfig(address="local"))):
        yield


def start(splits, storage, run, *, kind="mlp", folder=".", **values):
    params = {"hidden": [32], "dropout": 0.1} if kind == "mlp" else {}
    return train.fit(
        TrainConfig.model_validate(SLOW | {"workers": 2} | values),
        ModelConfig(type=kind, params=params),
        splits,
        metric="roc_auc",
        folder=str(folder),
        out=open_store(storage).root / "runs" / run / "bundle",
        storage=storage,
        run=run,
    )


def weights(storage, run):
    return load_file(open_store(storage).root / "runs" / run / "bundle" / "weights.safetensors")


@pytest.mark.parametrize("backend", ["ddp", "horovod"])
def test_a_killed_worker_costs_an_interval_and_changes_no_bit(cluster, splits, storage, backend, capfd):
    if backend == "horovod":
        pytest.importorskip("horovod.torch", reason="`make horovod` builds it")
    whole, _ = drain(start(splits, storage, f"whole-{backend}", backend=backend))
    epochs = start(splits, storage, f"killed-{backend}", backend=backend)
    seen = until_kept(epochs, storage, f"killed-{backend}")
    os.kill(workers()[-1].pid, signal.SIGKILL)
    rest, fitted = drain(epochs)
    assert [epoch.epoch for epoch in [*seen, *rest]] == list(range(1, 25))
    assert [epoch.metrics["validation_loss"] for epoch in rest] == [
        epoch.metrics["validation_loss"] for epoch in whole[len(seen) :]
    ]
    expected, found = weights(storage, f"whole-{backend}"), weights(storage, f"killed-{backend}")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert "is gone" in fitted.warnings[0]
    assert "starts again from epoch" in fitted.warnings[0]
    assert "is gone" in capfd.readouterr().err


def test_a_worker_that_hangs_is_found_with_every_workers_stacks(cluster, splits, storage, tmp_path):
    (tmp_path / "net_that_hangs.py").write_text(HANGING_NET)
    epochs = start(splits, storage, "stuck", kind="net_that_hangs:make", folder=tmp_path, step_timeout=4)
    with pytest.raises(WorkError, match=r"^worker 1 made no step in 4 s: .*net_that_hangs\.py.* in forward"):
        drain(epochs)
    folder = open_store(storage).root / "runs" / "stuck" / "stacks"
    stacks = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(stacks) == {"worker-0.txt", "worker-1.txt"}
    assert "all_reduce" in stacks["worker-0.txt"]
    assert not workers()


def test_a_worker_that_dies_again_and_again_ends_the_run(cluster, splits, storage, tmp_path, monkeypatch):
    monkeypatch.setattr("raymle.train.backends.failure.RESTARTS", 1)
    (tmp_path / "net_that_dies.py").write_text(HANGING_NET.replace("time.sleep(3600)", "__import__('os')._exit(1)"))
    with pytest.raises(WorkError, match=r"is gone.*2 times in a row without a new checkpoint"):
        drain(start(splits, storage, "dies", kind="net_that_dies:make", folder=tmp_path))
    assert checkpoint.positions(open_store(storage), checkpoint.folder_of("dies")) == []

"""An elastic group on two machines, of which one is lost, or taken away with notice."""

import socket
import time

import pytest
import ray
from helpers import drain, until_kept
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason

from raymle import runtime, train
from raymle.config import ClusterConfig, ModelConfig, TrainConfig
from raymle.store import open_store
from raymle.train import checkpoint

SETTINGS = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20",  # how long Ray hopes for the machine that is gone
}
NOTICE_S = 6


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """Two machines of one CPU each; yields the cluster and the second machine."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    small = {"num_cpus": 1, "object_store_memory": 80_000_000}
    with runtime.scratch() as folder:
        monkeypatch.setenv("RAY_TMPDIR", str(folder))  # there the cluster notes its address, and not where others look
        head = {"include_dashboard": False, "temp_dir": str(folder / "ray"), "gcs_server_port": port}
        cluster = Cluster(initialize_head=True, head_node_args=small | head)
        try:
            second = cluster.add_node(**small)
            with runtime.connected(runtime.decide(ClusterConfig(address=cluster.address))):
                yield cluster, second
        finally:
            cluster.shutdown()


def start(splits, storage, run, epochs):
    values = {"epochs": epochs, "batch_size": 16, "early_stopping": None, "workers": {"min": 1, "max": 2}}
    return train.fit(
        TrainConfig.model_validate(values), ModelConfig(params={"hidden": [32]}), splits, metric="roc_auc", folder=".",
        out=open_store(storage).root / "runs" / run / "bundle", storage=storage, run=run,
    )  # fmt: skip


def test_a_lost_machine_leaves_a_smaller_group_that_goes_on(machines, splits, storage):
    cluster, second = machines
    epochs = start(splits, storage, "lost", 24)
    seen = until_kept(epochs, storage, "lost")
    cluster.remove_node(second, allow_graceful=False)
    rest, fitted = drain(epochs)
    assert [epoch.epoch for epoch in [*seen, *rest]] == list(range(1, 25))
    assert fitted.workers == 1
    assert "is gone" in fitted.warnings[0]
    assert "starts again from epoch" in fitted.warnings[0]


def test_a_machine_that_is_taken_away_with_notice_is_saved_for_and_is_no_failure(machines, splits, storage):
    cluster, second = machines
    folder = checkpoint.folder_of("noticed")
    epochs = start(splits, storage, "noticed", 60)
    seen = [next(epochs) for _ in range(4)]
    client = GcsClient(address=cluster.address)
    deadline = int((time.time() + NOTICE_S) * 1000)
    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    assert client.drain_node(second.node_id, reason, "taken away", deadline)[0]
    rest, fitted = drain(epochs)
    assert [epoch.epoch for epoch in [*seen, *rest]] == list(range(1, 61))
    assert fitted.workers == 1
    assert checkpoint.positions(open_store(storage), folder)
    assert not [node for node in ray.nodes() if node["Alive"] and node["NodeID"] == second.node_id]

"""Two workers on Ray Train, whichever way they agree: the same numbers as one process, and nothing left behind."""

import numpy as np
import psutil
import pytest
from helpers import FAILING_NET, fit
from safetensors.numpy import load_file
from small_table import splits as splits

from raymle import runtime
from raymle.config import ClusterConfig
from raymle.errors import WorkError

BACKENDS = ["ddp", "horovod"]
STEPS = 50
FULL_BATCH = {"epochs": STEPS, "batch_size": 4096, "optimizer": {"learning_rate": 0.01}}


@pytest.fixture(scope="module")
def cluster():
    with runtime.connected(runtime.decide(ClusterConfig(address="local"))):
        yield


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "horovod":
        pytest.importorskip("horovod.torch", reason="`make horovod` builds it")
    return request.param


@pytest.fixture(scope="module")
def alone(splits, tmp_path_factory):
    """One process that takes every step over all rows."""
    folder = tmp_path_factory.mktemp("alone") / "bundle"
    return [report.metrics for report in fit(splits, folder, **FULL_BATCH)[0]], load_file(
        folder / "weights.safetensors"
    )


@pytest.fixture(scope="module")
def trained(cluster, splits, tmp_path_factory):
    """Train with two workers, once for each backend."""
    made = {}

    def run(backend):
        if backend not in made:
            folder = tmp_path_factory.mktemp(backend) / "bundle"
            reports, fitted = fit(splits, folder, workers=2, backend=backend, **FULL_BATCH)
            assert fitted.workers == 2
            made[backend] = [report.metrics for report in reports], load_file(folder / "weights.safetensors")
        return made[backend]

    return run


def test_fifty_steps_have_the_losses_of_one_process_over_all_rows(alone, trained, backend):
    metrics, weights = trained(backend)
    assert len(metrics) == STEPS
    for name in ("train_loss", "validation_loss"):
        np.testing.assert_allclose([each[name] for each in metrics], [each[name] for each in alone[0]], atol=1e-6)
    for name, values in alone[1].items():
        np.testing.assert_allclose(weights[name], values, atol=1e-5)


def test_the_scores_are_those_of_the_rows_in_their_order(alone, trained, backend):
    scores = [each["roc_auc"] for each in trained(backend)[0]]
    assert scores == pytest.approx([each["roc_auc"] for each in alone[0]], abs=1e-4)


def test_every_layers_gradients_are_the_same_by_ddp_and_by_horovod(trained):
    pytest.importorskip("horovod.torch", reason="`make horovod` builds it")
    ours, theirs = (trained(backend)[0] for backend in BACKENDS)
    norms = [name for name in ours[0] if name.startswith("grad_norm")]
    assert len(norms) > 3
    for name in norms:
        np.testing.assert_allclose([each[name] for each in ours], [each[name] for each in theirs], rtol=1e-5, atol=1e-7)


def test_a_worker_that_raises_is_a_work_error_with_its_reason_and_nothing_stays(cluster, splits, tmp_path, backend):
    (tmp_path / f"net_that_fails_{backend}.py").write_text(FAILING_NET)
    with pytest.raises(WorkError, match=r"worker . failed: ValueError: a shape that does not fit"):
        fit(splits, tmp_path / "bundle", tmp_path, f"net_that_fails_{backend}:make", {}, workers=2, backend=backend)
    children = psutil.Process().children(recursive=True)
    _, alive = psutil.wait_procs([child for child in children if child.name().startswith("ray::RayTrainW")], timeout=30)
    assert not alive
    assert not (tmp_path / "bundle").exists()

"""Two workers on Ray Train begin with another model's weights and stay in step."""

import numpy as np
import pytest
from helpers import drain
from safetensors.torch import load_file

from raymle import runtime, train
from raymle.ancestry import Parent
from raymle.config import ClusterConfig, ModelConfig, TrainConfig
from raymle.folders import commit, draft_folder


@pytest.fixture(scope="module")
def cluster():
    with runtime.connected(runtime.decide(ClusterConfig(address="local"))):
        yield


def fit(splits, out, parent=None, **values):
    config = TrainConfig.model_validate({"epochs": 3, "batch_size": 128, "early_stopping": None} | values)
    model = ModelConfig(type="mlp", params={"hidden": [16, 8], "dropout": 0.0, "normalisation": "batch"})
    more = {"parent": parent} if parent else {}
    return drain(train.fit(config, model, splits, metric="roc_auc", folder=".", out=out, **more))


def weights(fitted):
    return load_file(f"{fitted.bundle}/weights.safetensors")


@pytest.fixture(scope="module")
def parent(splits, tmp_path_factory):
    """A first model, as the storage keeps it."""
    place = tmp_path_factory.mktemp("parent")
    _, first = fit(splits, place / "first")
    draft = draft_folder(place)
    for name in ("weights.safetensors", "bundle.json", "transform.json"):
        (draft / name).write_bytes((place / "first" / name).read_bytes())
    commit(draft, place / "pretrained" / "1")
    return first, Parent(asked="last", folder="pretrained/1", storage=str(place), version="1")


SLOWLY = {"unfreeze": 1, "layer_decay": 0.5}


@pytest.mark.parametrize(
    ("pretrained", "backend"),
    [({"trainable": ["layers.6"]}, "ddp"), (SLOWLY, "ddp"), (SLOWLY, "horovod")],
)
def test_two_workers_begin_with_the_same_weights_and_give_what_one_gives(
    cluster, splits, parent, tmp_path, pretrained, backend
):
    if backend == "horovod":
        pytest.importorskip("horovod.torch", reason="`make horovod` builds it")
    first, kept = parent
    given = {"pretrained": {"from": "last", **pretrained}}
    _, one = fit(splits, tmp_path / "one", kept, **given)
    # every epoch proves that the workers are in step
    reports, two = fit(splits, tmp_path / "two", kept, workers=2, backend=backend, **given)
    assert (len(reports), two.workers) == (3, 2)
    before, alone, together = map(weights, (first, one, two))
    for name, value in together.items():
        if "running" not in name:  # each worker normalises its own part of a batch
            np.testing.assert_allclose(value, alone[name], atol=0.05)
    frozen = [layer.name for layer in two.pretrained.layers if not layer.since]
    assert all((before[name] == together[name]).all() for name in frozen)
    assert bool(frozen) == ("trainable" in pretrained)
    moved = [name for name in before if name.startswith("layers.6")]
    assert not all((before[name] == together[name]).all() for name in moved)

"""The first weights of a training: read once, then the run's own checkpoints have them."""

import shutil

import pytest
import torch

from raymle import train
from raymle.ancestry import Parent
from raymle.config import ModelConfig, TrainConfig
from raymle.data import shards
from raymle.errors import ArtifactError, UsageError
from raymle.folders import commit, draft_folder
from raymle.store import open_store
from raymle.train import checkpoint, first
from raymle.train.bundler import Bundler
from raymle.train.checkpoint import Position, State
from raymle.train.task import Task

MLP = ModelConfig(type="mlp", params={"hidden": [16], "dropout": 0.3})


@pytest.fixture
def begun(trained, prepared, tmp_path):
    """A task that begins with the weights of a first training, and where those are kept."""
    fitted = trained(model=MLP, epochs=1)
    draft = draft_folder(tmp_path)
    for name in ("weights.safetensors", "bundle.json", "transform.json"):
        shutil.copy(f"{fitted.bundle}/{name}", draft / name)
    commit(draft, tmp_path / "pretrained" / "1")
    config = TrainConfig.model_validate({"pretrained": {"from": "last", "trainable": ["layers.3"]}, "seed": 5})
    splits = prepared("two")
    bundler = Bundler.of(config, MLP, splits, metric="roc_auc", folder=str(tmp_path))
    task = Task(config, bundler.contents, splits, bundler.objective, str(tmp_path), str(tmp_path), "run")
    parent = Parent(asked="last", folder="pretrained/1", storage=str(tmp_path), version="1")
    return task, parent, shards.load_transform(splits)


def test_every_worker_builds_the_loaded_network_with_its_frozen_layers(begun):
    task, found = first.begin(*begun)
    one, two = task.module(), task.module()
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())
    assert {name for name, weight in one.named_parameters() if weight.requires_grad} == {
        "layers.3.weight", "layers.3.bias",
    }  # fmt: skip
    fresh = begun[0].module()
    assert not torch.equal(one.layers[0].weight, fresh.layers[0].weight)
    assert {layer.origin for layer in found.layers} == {"loaded"}


def test_a_training_with_a_checkpoint_does_not_read_its_parent_again(begun, tmp_path):
    task, found = first.begin(*begun)
    shutil.rmtree(tmp_path / "pretrained")
    with pytest.raises(ArtifactError):
        first.begin(*begun)
    state = State({"model/x": torch.zeros(1)}, {})
    checkpoint.save(open_store(str(tmp_path)), checkpoint.folder_of("run"), Position(1, 0), state)
    again, recorded = first.begin(*begun)
    assert recorded == found
    assert again.layers == task.layers
    assert not again.start


def test_layers_that_no_epoch_would_unfreeze_are_told(begun):
    task, parent, transform = begun
    settings = {"epochs": 2, "pretrained": {"from": "last", "unfreeze": 2}}
    task = Task(TrainConfig.model_validate(settings), *(getattr(task, name) for name in
                ("contents", "splits", "objective", "folder", "storage")))  # fmt: skip
    _, found = first.begin(task, parent, transform)
    assert found.warnings == ("train.epochs 2 is too few to unfreeze embeddings.0, layers.0",)


def test_a_source_that_nobody_found_is_no_training_from_scratch(prepared, tmp_path):
    config = TrainConfig.model_validate({"pretrained": {"from": "last"}})
    with pytest.raises(UsageError, match="nobody has found it"):
        next(train.fit(config, MLP, prepared("two"), metric="roc_auc", folder=".", out=tmp_path / "bundle"))


LOOP = """
import torch
def loop(context):
    moving = [weight for weight in context.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(moving, lr=0.5)
    for epoch in range(2):
        outputs = context.model(
            torch.from_numpy(context.train.numbers.copy()), torch.from_numpy(context.train.codes.astype("int64"))
        )
        loss = torch.nn.functional.cross_entropy(outputs, torch.from_numpy(context.train.target.copy()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield context.report(is_still=float(not context.model.layers[2].training))
"""


def test_a_users_loop_gets_the_loaded_network_with_its_frozen_layers(begun, tmp_path, prepared):
    task, parent, _ = begun
    (tmp_path / "loop_from_another.py").write_text(LOOP)
    config = task.train.model_copy(update={"loop": "loop_from_another:loop"})
    epochs = train.fit(
        config, MLP, task.splits, metric="roc_auc", folder=str(tmp_path), out=tmp_path / "second", parent=parent
    )
    reports = []
    while True:
        try:
            reports.append(next(epochs))
        except StopIteration as end:
            fitted = end.value
            break
    assert [report.metrics["is_still"] for report in reports] == [1.0, 1.0]
    assert [layer.since for layer in fitted.pretrained.layers if "layers.0" in layer.name] == [0, 0]

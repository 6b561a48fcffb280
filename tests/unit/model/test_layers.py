"""Layers by their names: globs, depth from the head, turns, and what is still."""

import pytest
import torch
from torch import nn

from raymle.config import ModelConfig
from raymle.config.train import PretrainedConfig
from raymle.errors import SpecError
from raymle.model.build import build
from raymle.model.layers import depths, hush, matched, turns
from raymle.model.nets.images import Augment
from raymle.records import ImageInput, Inputs

NAMES = ["embeddings.0.weight", "layers.1.weight", "layers.1.bias", "layers.10.weight", "bias"]


@pytest.mark.parametrize(
    ("glob", "meant"),
    [
        ("layers.1", ["layers.1.weight", "layers.1.bias"]),
        ("layers.1*", ["layers.1.weight", "layers.1.bias", "layers.10.weight"]),
        ("layers.*", ["layers.1.weight", "layers.1.bias", "layers.10.weight"]),
        ("layers", ["layers.1.weight", "layers.1.bias", "layers.10.weight"]),
        ("*.bias", ["layers.1.bias"]),
        ("bias", ["bias"]),
        ("embeddings.*", ["embeddings.0.weight"]),
        ("layers.1.weight", ["layers.1.weight"]),
        ("*", NAMES),
    ],
)
def test_a_glob_means_a_name_or_a_scope(glob, meant):
    assert matched([glob], NAMES, "key") == set(meant)


def test_a_glob_that_means_nothing_lists_the_layers():
    with pytest.raises(SpecError, match=r"^key: 'layer\.1'") as caught:
        matched(["layers.1", "layer.1"], NAMES, "key")
    assert caught.value.hint == "its layers are embeddings.0, layers.1, layers.10, bias"


def mlp(**params):
    config = ModelConfig(type="mlp", params={"hidden": [4, 4], "normalisation": "batch", **params})
    return build(config, Inputs(numbers=3, categories=(4, 5)), 2)


def test_depth_counts_from_the_head_with_embeddings_deepest_and_normalisation_at_its_layer():
    found = depths(mlp())
    assert {name: depth for name, depth in found.items() if name.endswith("weight")} == {
        "embeddings.0.weight": 3, "embeddings.1.weight": 3, "layers.0.weight": 2, "layers.1.weight": 2,
        "layers.4.weight": 1, "layers.5.weight": 1, "layers.8.weight": 0,
    }  # fmt: skip


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(4, 2, 8) for _ in range(2))
        self.head = nn.Linear(4, 2)


def test_a_numbered_block_is_one_layer_whatever_is_in_it():
    found = depths(Blocks())
    assert set(found.values()) == {0, 1, 2, 3}
    assert {depth for name, depth in found.items() if name.startswith("blocks.0")} == {2}


def config(**values):
    return PretrainedConfig.model_validate({"from": "last", **values})


def test_a_layers_rate_decays_with_its_depth():
    module = mlp()
    found = turns(module, config(layer_decay=0.5), trained=set(depths(module)), fresh=())
    assert found["layers.8.bias"].rate == 1
    assert found["layers.0.weight"].rate == 0.25
    assert {turn.since for turn in found.values()} == {1}


def test_one_more_layer_is_unfrozen_every_few_epochs_and_fresh_ones_do_not_wait():
    module = mlp()
    trained = {name for name in depths(module) if not name.startswith("layers.8")}
    found = turns(module, config(unfreeze=2), trained=trained, fresh={"embeddings.1.weight"})
    assert {name: turn.since for name, turn in found.items() if name.endswith("weight")} == {
        "embeddings.0.weight": 5, "embeddings.1.weight": 1, "layers.0.weight": 3, "layers.1.weight": 3,
        "layers.4.weight": 1, "layers.5.weight": 1, "layers.8.weight": 0,
    }  # fmt: skip


def test_what_is_frozen_is_in_evaluation_with_the_dropout_behind_it():
    module = mlp(dropout=0.5)
    for weight in [*module.layers[0].parameters(), *module.layers[1].parameters(), *module.embeddings.parameters()]:
        weight.requires_grad_(False)
    module.train()
    hush(module)
    assert [part.training for part in module.layers] == [False] * 4 + [True] * 5
    before = module.layers[1].running_mean.clone()
    module(numbers=torch.randn(8, 3), categories=torch.zeros(8, 2, dtype=torch.int64))
    assert torch.equal(module.layers[1].running_mean, before)
    assert not torch.equal(module.layers[5].running_mean, torch.zeros(4))


def test_images_are_moved_also_where_convolutions_are_frozen():
    inputs = Inputs(numbers=0, images=(ImageInput(column="image", channels=1, height=8, width=8),))
    module = build(ModelConfig(type="cnn"), inputs, 2)
    for weight in module.images.parameters():
        weight.requires_grad_(False)
    module.train()
    hush(module)
    (augment,) = (part for part in module.modules() if isinstance(part, Augment))
    assert augment.training
    assert not module.images[0].training

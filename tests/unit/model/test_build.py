"""From a spec's model section to a module."""

import pytest
import torch

from raymle.config import ModelConfig
from raymle.errors import SpecError, UsageError
from raymle.model import check
from raymle.model.build import build
from raymle.model.nets.dropout import Dropout
from raymle.records import Inputs

INPUTS = Inputs(numbers=3, categories=(4, 1001))


def call(module, rows=5):
    return module(numbers=torch.randn(rows, 3), categories=torch.ones(rows, 2, dtype=torch.int64))


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_family_gives_a_value_per_output(kind):
    assert call(build(ModelConfig(type=kind), INPUTS, 7)).shape == (5, 7)


@pytest.mark.parametrize("inputs", [Inputs(numbers=0, categories=(3,)), Inputs(numbers=2), Inputs(numbers=1)])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_numbers_or_categories_alone_are_enough(kind, inputs):
    module = build(ModelConfig(type=kind), inputs, 2)
    codes = torch.zeros(4, len(inputs.categories), dtype=torch.int64)
    assert module(numbers=torch.zeros(4, inputs.numbers), categories=codes).shape == (4, 2)


@pytest.mark.parametrize("normalisation", ["none", "batch", "layer"])
def test_every_normalisation_trains(normalisation):
    params = {"hidden": [8, 4], "normalisation": normalisation, "activation": "silu", "embedding": 3}
    call(build(ModelConfig(params=params), INPUTS, 2)).sum().backward()


def test_the_seed_decides_the_weights_and_nothing_else_is_touched():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = (build(ModelConfig(), INPUTS, 2, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])


@pytest.mark.parametrize(
    ("config", "message", "hint"),
    [
        (ModelConfig(params={"hiden": [8]}), "hiden is not a parameter of mlp", "did you mean hidden"),
        (ModelConfig(type="linear", params={"hidden": [8]}), "not a parameter of linear", "no parameters"),
        (ModelConfig(params={"dropout": 1.5}), "dropout", ""),
        (ModelConfig(params={"hidden": [0]}), "hidden", ""),
        (ModelConfig(params={"activation": "rleu"}), "activation", ""),
        (ModelConfig(type="trees", params={"num_leafs": 3}), "not a parameter of trees", "did you mean num_leaves"),
    ],
)
def test_a_wrong_parameter_is_named_before_anything_is_built(config, message, hint):
    with pytest.raises(SpecError, match=message) as caught:
        check(config)
    assert hint in caught.value.hint


def test_a_family_of_a_later_version_is_refused_with_a_sentence():
    with pytest.raises(UsageError, match="comes later"):
        check(ModelConfig(type="cells"))


def write(folder, text):
    (folder / "nets_of_mine.py").write_text(text)
    return ModelConfig(type="nets_of_mine:make", params={"width": 4})


GOOD = """
import torch
class Net(torch.nn.Module):
    def __init__(self, inputs, outputs, width):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(inputs.numbers, width), torch.nn.Linear(width, outputs))
    def forward(self, numbers, categories):
        return self.layers(numbers)
def make(inputs, outputs, *, width=8):
    return Net(inputs, outputs, width)
"""


def test_a_users_factory_makes_the_module(tmp_path):
    config = write(tmp_path, GOOD)
    assert call(build(config, INPUTS, 2, folder=str(tmp_path))).shape == (5, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make(inputs): ...", "cannot be called as make|not a parameter"),
        ("def make(inputs, outputs, wdith=1): ...", "width is not a parameter"),
        ("def make(inputs, outputs, width): return 3", "not a torch nn.Module"),
        ("def make(inputs, outputs, width): raise ValueError('odd')", "ValueError: odd"),
        ("def other(): ...", "no function 'make'"),
        ("import not_there_at_all", "no module 'not_there_at_all'"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_users_factory_that_does_not_fit_is_a_spec_error(tmp_path, text, message):
    config = write(tmp_path, text)
    with pytest.raises(SpecError, match=message):
        build(config, INPUTS, 2, folder=str(tmp_path))


def test_dropout_drops_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    values = torch.ones(400, 501, requires_grad=True)
    result = Dropout(0.2)(values)
    assert (result == 0).float().mean().item() == pytest.approx(0.2, abs=0.005)
    assert result.mean().item() == pytest.approx(1, abs=0.01)
    assert result.max().item() == pytest.approx(1.25)
    result.sum().backward()
    assert torch.equal(values.grad, result.detach())


def test_dropout_is_seeded_and_rests_in_evaluation():
    layer, values = Dropout(0.5), torch.randn(10, 3)
    torch.manual_seed(1)
    first = layer(values)
    torch.manual_seed(1)
    assert torch.equal(first, layer(values))
    assert torch.equal(layer.eval()(values), values)

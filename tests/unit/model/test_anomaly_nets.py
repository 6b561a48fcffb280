"""Networks that say how unusual a row is."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymle.config import ModelConfig
from raymle.model.build import build
from raymle.model.layers import hush
from raymle.model.nets.anomaly import Verdict
from raymle.model.params import ForestParams
from raymle.records import Inputs
from raymle.train import forest


def score(module, numbers, codes=None):
    codes = np.zeros((len(numbers), 0), np.int64) if codes is None else codes
    with torch.no_grad():
        out = module.eval()(torch.from_numpy(numbers), torch.from_numpy(codes))
    assert out.shape == (len(numbers), 2)
    assert bool((out[:, 0] == 0).all())
    return out[:, 1].numpy()


@settings(max_examples=20)
@given(
    rows=st.integers(2, 400), width=st.integers(1, 4), samples=st.integers(2, 64),
    whole=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_forest_says_what_scikit_learns_does(rows, width, samples, whole, seed):
    values = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    values = np.round(values) if whole else values  # many rows are the same
    params = ForestParams(n_estimators=5, max_samples=samples)
    grown = forest.grow(values, params, seed)
    config = ModelConfig(type="isolation_forest", params=params.model_dump())
    module = build(config, Inputs(numbers=width), 2)
    module.load_state_dict(forest.tables(grown, params), strict=False)
    assert 2.0 ** score(module, values) == pytest.approx(-grown.score_samples(values), rel=1e-4)
    assert forest.leaves(module) == sum(tree.get_n_leaves() for tree in grown.estimators_)


def test_a_forest_looks_at_codes_after_the_numbers():
    numbers, codes = np.zeros((300, 1), np.float32), np.ones((300, 1), np.int64)
    codes[0] = 4
    params = ForestParams(n_estimators=20)
    rows = np.concatenate([numbers, codes], axis=1, dtype=np.float32)
    module = build(
        ModelConfig(type="isolation_forest", params={"n_estimators": 20}), Inputs(numbers=1, categories=(5,)), 2
    )
    module.load_state_dict(forest.tables(forest.grow(rows, params, 0), params), strict=False)
    found = score(module, numbers, codes)
    assert found[0] > found[1:].max()


def test_an_autoencoder_counts_numbers_and_codes_alike():
    module = build(ModelConfig(type="autoencoder"), Inputs(numbers=2, categories=(3,)), 2)
    with torch.no_grad():
        module.decoder[-1].weight.zero_()
        module.decoder[-1].bias.copy_(torch.tensor([0.0, 0.0, 5.0, 0.0, 0.0]))
    numbers = np.array([[0, 0], [0, 0], [3, 0]], np.float32)
    found = np.exp(score(module, numbers, np.array([[0], [1], [0]], np.int64)))
    usual = (-torch.tensor([5.0, 0, 0]).log_softmax(0)).tolist()
    assert found == pytest.approx([usual[0] / 3, usual[1] / 3, (9 + usual[0]) / 3], rel=1e-4)


def test_sequences_are_made_again_too():
    from raymle.records import SequenceInput

    inputs = Inputs(numbers=1, sequences=(SequenceInput(column="past", steps=3, width=1),))
    module = build(ModelConfig(type="autoencoder"), inputs, 2)
    assert score(module, np.zeros((2, 4), np.float32)).shape == (2,)


@given(st.floats(-5, 5), st.floats(0.1, 5), st.floats(-5, 5), st.floats(0.1, 5))
def test_a_verdict_that_is_moved_again_means_what_it_says(first, scale, then, units):
    verdict = Verdict().eval()
    verdict.move(first, scale)
    said = verdict(torch.tensor([1.0, -2.0]))[:, 1]
    verdict.move(then, units)
    assert verdict(torch.tensor([1.0, -2.0]))[:, 1].tolist() == pytest.approx(
        ((said - then) / units).tolist(), abs=1e-3
    )


def test_while_it_learns_a_verdict_leaves_scores_alone():
    verdict = Verdict().train()
    verdict.move(3.0, 2.0)
    assert verdict(torch.tensor([1.0]))[0, 1] == 1.0


def test_a_verdict_begins_anew_with_other_weights_and_learns_also_behind_what_is_frozen():
    module = build(ModelConfig(type="autoencoder"), Inputs(numbers=2), 2)
    module.verdict.move(3.0, 2.0)
    for weight in module.parameters():
        weight.requires_grad_(False)
    module.decoder[-1].bias.requires_grad_(True)
    module.train()
    hush(module)
    assert module.verdict.training
    module.verdict.begin()
    assert (module.verdict.threshold.item(), module.verdict.scale.item()) == (0.0, 1.0)

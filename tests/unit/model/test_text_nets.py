"""Networks over texts: padding changes nothing, every family trains, and ONNX Runtime says the same as torch."""

import numpy as np
import pytest
import torch
from test_session import exported

from raymle.config import ModelConfig
from raymle.data.encoded import Encoded
from raymle.errors import SpecError, UsageError
from raymle.model import fits, parameters, session
from raymle.model.build import build
from raymle.model.nets.text import TOGETHER, Bag, Lstm, Words
from raymle.model.network import forward
from raymle.model.params import LstmParams, MlpParams
from raymle.records import Inputs, TextInput

TEXTS = (TextInput(column="title", length=3, vocabulary=300), TextInput(column="body", length=7, vocabulary=300))
MIXED = Inputs(numbers=2, categories=(4,), texts=TEXTS)
SMALL = {
    "linear": {},
    "mlp": {"hidden": [8], "embedding": 5},
    "lstm": {"hidden": [8], "embedding": 5, "width": 6, "layers": 2},
    "transformer": {"hidden": [8], "width": 8, "heads": 2, "dropout": 0.2},
}


def rows(inputs: Inputs, count: int, seed: int = 0) -> Encoded:
    """Return rows whose texts end anywhere, the first at once."""
    draw = np.random.default_rng(seed)
    parts = [draw.integers(0, size, (count, 1)) for size in inputs.categories]
    for text in inputs.texts:
        codes = draw.integers(1, text.vocabulary, (count, text.length))
        ends = draw.integers(0, text.length + 1, (count, 1))
        ends[0] = 0
        parts.append(np.where(np.arange(text.length) < ends, codes, 0))
    numbers = draw.normal(size=(count, inputs.numbers)).astype(np.float32)
    return Encoded(numbers, np.concatenate(parts, axis=1).astype(np.int32))


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("inputs", [MIXED, Inputs(numbers=0, texts=TEXTS[1:])], ids=["mixed", "text alone"])
def test_onnx_runtime_gives_what_torch_gives(tmp_path, kind, inputs):
    module, model = exported(tmp_path, ModelConfig(type=kind, params=SMALL[kind]), inputs, 3)
    for count in (1, 2, 17):
        arrays = rows(inputs, count, seed=count)
        found = session.predictor(model, inputs, 3, threads=1)(arrays)
        np.testing.assert_allclose(found, forward(module, arrays, 3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", SMALL)
def test_rows_are_predicted_alike_alone_and_together_and_an_empty_text_has_an_answer(kind):
    module = build(ModelConfig(type=kind, params=SMALL[kind]), MIXED, 2).eval()
    arrays = rows(MIXED, 9)
    together = forward(module, arrays, 2)
    alone = np.concatenate([forward(module, arrays.rows([row]), 2) for row in range(9)])
    assert np.isfinite(together).all()
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("kind", SMALL)
def test_many_texts_are_taken_by_their_lengths_and_answered_in_their_own_order(kind):
    module = build(ModelConfig(type=kind, params=SMALL[kind]), MIXED, 2).eval()
    arrays = rows(MIXED, 3 * TOGETHER + 1)
    together = forward(module, arrays, 2)
    few = np.concatenate([forward(module, arrays.rows(slice(at, at + 50)), 2) for at in range(0, len(arrays), 50)])
    np.testing.assert_allclose(together, few, atol=1e-5)


def test_weights_learn_the_same_from_texts_by_their_lengths():
    torch.manual_seed(0)
    encoder, codes = Lstm(TEXTS[1], LstmParams(width=6)), torch.from_numpy(rows(MIXED, 2 * TOGETHER + 5).codes[:, -7:])
    wanted = torch.randn(len(codes), 6)
    found, weights = (encoder(codes), encoder._features(codes)), list(encoder.parameters())
    gradients = [torch.autograd.grad((features * wanted).sum(), weights) for features in found]
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", SMALL)
def test_a_longer_place_for_the_same_text_changes_nothing(kind):
    """What stands after the end is not looked at."""
    short, long = (Inputs(numbers=0, texts=(TextInput(column="t", length=each, vocabulary=300),)) for each in (4, 9))
    networks = [build(ModelConfig(type=kind, params=SMALL[kind]), each, 2).eval() for each in (short, long)]
    weights = networks[1].state_dict()
    for name, value in networks[0].state_dict().items():
        weights[name] = torch.cat([value, weights[name][:, 5:]], dim=1) if name.endswith("places") else value
    networks[1].load_state_dict(weights)
    codes = np.array([[5, 6, 7, 8], [9, 0, 0, 0], [0, 0, 0, 0]], np.int32)
    nothing = np.zeros((3, 0), np.float32)
    found = forward(networks[0], Encoded(nothing, codes), 2)
    padded = forward(networks[1], Encoded(nothing, np.pad(codes, ((0, 0), (0, 5)))), 2)
    np.testing.assert_allclose(found, padded, atol=1e-5)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_every_weight_learns_and_padding_stays_nothing(kind, precision):
    torch.manual_seed(0)
    module = build(ModelConfig(type=kind, params=SMALL[kind]), MIXED, 2)
    arrays = rows(MIXED, 64)
    numbers, codes = torch.from_numpy(arrays.numbers), torch.from_numpy(arrays.codes).long()
    for _ in range(2):  # the linear weights begin at zero, and so does what flows through them
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            output = module(numbers=numbers, categories=codes)
        torch.nn.functional.cross_entropy(output.float(), torch.arange(64) % 2).backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        if name.endswith("words.weight"):
            assert not weight.grad[0].any(), name


def test_a_bag_is_the_mean_of_its_words_in_any_order():
    bag = Bag(TEXTS[1], MlpParams(embedding=4))
    weight = bag.words.weight.detach()
    found = bag(torch.tensor([[5, 9, 9, 0, 0, 0, 0], [9, 5, 9, 0, 0, 0, 0], [0] * 7]))
    torch.testing.assert_close(found[0], (weight[5] + 2 * weight[9]) / 3)
    torch.testing.assert_close(found[0], found[1])
    assert not found[2].any()


def test_a_linear_network_has_a_weight_for_each_word():
    words = Words(TEXTS[1], 2)
    with torch.no_grad():
        words.words.weight[5] = torch.tensor([1.0, -1.0])
    found = words(torch.tensor([[5, 5, 5, 5, 0, 0, 0], [6, 0, 0, 0, 0, 0, 0]]))
    torch.testing.assert_close(found, torch.tensor([[2.0, -2.0], [0.0, 0.0]]))


def test_families_refuse_what_they_cannot_take():
    with pytest.raises(UsageError, match=r"column 'title' is text, and model\.type trees takes numbers and categories"):
        fits(ModelConfig(type="trees"), MIXED)
    with pytest.raises(UsageError, match=r"model\.type lstm is for texts and sequences, and no column is one"):
        fits(ModelConfig(type="lstm"), Inputs(numbers=3))
    with pytest.raises(SpecError, match=r"model\.params\.heads: .*3 heads do not divide a width of 64"):
        parameters(ModelConfig(type="transformer", params={"heads": 3}))

"""Networks over sequences: an LSTM that reads them in order, and the same predictions in ONNX Runtime."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymle.config import ModelConfig
from raymle.data.encoded import Encoded
from raymle.errors import UsageError
from raymle.model import fits, onnx_export, session
from raymle.model.build import build
from raymle.model.network import forward, save_weights
from raymle.records import Inputs, SequenceInput

INPUTS = Inputs(
    numbers=2, categories=(4,),
    sequences=(SequenceInput(column="a", steps=5, width=2), SequenceInput(column="b", steps=3, width=1)),
)  # fmt: skip
FAMILIES = [
    ModelConfig(type="linear"),
    ModelConfig(type="mlp", params={"hidden": [8]}),
    ModelConfig(type="lstm", params={"width": 6, "hidden": [8]}),
    ModelConfig(type="lstm", params={"width": 3, "layers": 2, "hidden": [], "normalisation": "layer"}),
]


def encoded(rows, seed=0):
    draw = np.random.default_rng(seed)
    numbers, codes, _ = INPUTS.widths
    return Encoded(
        draw.normal(size=(rows, numbers)).astype(np.float32), draw.integers(0, 4, (rows, codes)).astype(np.int32)
    )


@pytest.mark.parametrize("config", FAMILIES, ids=lambda config: f"{config.type} {config.params}")
def test_onnx_says_the_same_for_any_number_of_rows(tmp_path, config):
    module = build(config, INPUTS, 2).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(std=0.5)
    save_weights(module, tmp_path / "weights.safetensors")
    contents = SimpleNamespace(model=config, inputs=INPUTS, outputs=2)
    onnx_export.write(SimpleNamespace(contents=contents, path=tmp_path), tmp_path / "model.onnx")
    raw = session.predictor((tmp_path / "model.onnx").read_bytes(), INPUTS, 2, threads=1)
    for rows in (1, 7, 64):
        assert np.allclose(raw(encoded(rows)), forward(module, encoded(rows), 2), atol=1e-5)


@settings(max_examples=20)
@given(st.floats(0.1, 5), st.integers(0, 20))
def test_linear_is_truly_linear_in_every_step(factor, seed):
    module = build(ModelConfig(type="linear"), INPUTS, 1).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_()
    one, two = encoded(3, seed), encoded(3, seed + 100)
    mixed = Encoded(one.numbers + np.float32(factor) * two.numbers, one.codes)
    nothing = Encoded(np.zeros_like(one.numbers), one.codes)
    plain = forward(module, one, 1) + factor * (
        forward(module, Encoded(two.numbers, one.codes), 1) - forward(module, nothing, 1)
    )
    assert np.allclose(forward(module, mixed, 1), plain, atol=1e-3)


def test_an_lstm_minds_the_order_and_each_column():
    module = build(FAMILIES[2], INPUTS, 1).eval()
    rows = encoded(1)
    before = forward(module, rows, 1)
    for place in range(2, INPUTS.widths[0]):
        numbers = rows.numbers.copy()
        numbers[:, place] += 1
        assert not np.array_equal(before, forward(module, Encoded(numbers, rows.codes), 1)), place


def test_an_lstm_without_a_sequence_is_refused():
    with pytest.raises(UsageError, match="is for texts and sequences, and no column is one"):
        fits(ModelConfig(type="lstm"), Inputs(numbers=3))
    fits(ModelConfig(type="lstm"), INPUTS)
    fits(ModelConfig(type="mlp"), Inputs(numbers=3))

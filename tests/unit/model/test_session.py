"""Networks in ONNX Runtime: the same predictions as torch's, and no torch."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymle.config import ModelConfig
from raymle.data.encoded import Encoded
from raymle.errors import ArtifactError, SecurityError, WorkError
from raymle.model import onnx_export, session
from raymle.model.build import build
from raymle.model.network import forward, save_weights
from raymle.records import Inputs

INPUTS = Inputs(numbers=3, categories=(4, 6))


def exported(folder: Path, config: ModelConfig, inputs: Inputs = INPUTS, outputs: int = 2, seed: int = 0):
    """Return a network of fresh weights and the bytes of its ONNX model."""
    module = build(config, inputs, outputs, folder=str(folder / "code"), seed=seed).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(std=0.5)
    save_weights(module, folder / "weights.safetensors")
    contents = SimpleNamespace(model=config, inputs=inputs, outputs=outputs)
    onnx_export.write(SimpleNamespace(contents=contents, path=folder), folder / "model.onnx")
    return module, (folder / "model.onnx").read_bytes()


def encoded(inputs: Inputs, rows: int, seed: int = 0):
    draw = np.random.default_rng(seed)
    codes = [draw.integers(0, size, rows) for size in inputs.categories]
    numbers = draw.normal(size=(rows, inputs.numbers)).astype(np.float32)
    return Encoded(numbers, (np.stack(codes, 1) if codes else np.empty((rows, 0))).astype(np.int32))


MODELS = st.one_of(
    st.just(ModelConfig(type="linear")),
    st.builds(
        lambda **params: ModelConfig(type="mlp", params=params),
        hidden=st.lists(st.integers(1, 20), max_size=3),
        activation=st.sampled_from(["relu", "sigmoid", "gelu", "silu", "tanh"]),
        normalisation=st.sampled_from(["none", "batch", "layer"]),
        embedding=st.sampled_from([None, 1, 5]),
    ),
)


@settings(max_examples=40)
@given(
    config=MODELS,
    numbers=st.integers(0, 4),
    categories=st.lists(st.integers(1, 9), max_size=3),
    outputs=st.integers(1, 4),
    rows=st.sampled_from([0, 1, 2, 5, session.BATCH_ROWS + 3]),
    seed=st.integers(0, 2**16),
)
def test_onnx_runtime_gives_what_torch_gives(tmp_path_factory, config, numbers, categories, outputs, rows, seed):
    inputs = Inputs(numbers=numbers, categories=tuple(categories) if categories or numbers else (2,))
    module, model = exported(tmp_path_factory.mktemp("net"), config, inputs, outputs, seed)
    arrays = encoded(inputs, rows, seed)
    found = session.predictor(model, inputs, outputs, threads=1)(arrays)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, forward(module, arrays, outputs), rtol=1e-4, atol=1e-4)


def test_a_network_says_the_same_bytes_twice_and_nothing_of_this_machine(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "secretive.py").write_text(USERS)
    for config in (ModelConfig(type="mlp"), ModelConfig(type="secretive:plain")):
        _, first = exported(tmp_path, config)
        _, again = exported(tmp_path, config)
        again_numbers = session.predictor(again, INPUTS, 2)(encoded(INPUTS, 4)).shape
        assert len(first) == len(again)
        assert again_numbers == (4, 2)
        assert str(tmp_path).encode() not in first
        assert b"secretive" not in first
        assert b".py" not in first


USERS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs.numbers, outputs)

class Plain(Net):
    def forward(self, numbers, categories): return self.layer(numbers)

class Looks(Net):
    def forward(self, numbers, categories):
        return self.layer(numbers) if numbers.mean() > 0 else -self.layer(numbers)

def plain(inputs, outputs): return Plain(inputs, outputs)
def looks(inputs, outputs): return Looks(inputs, outputs)
"""


def test_a_network_that_goes_another_way_for_other_values_does_not_export(tmp_path, capfd):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text(USERS)
    with pytest.raises(WorkError, match=r"mine:looks does not export to ONNX: .*data-dependent"):
        exported(tmp_path, ModelConfig(type="mine:looks"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("place", ["weights.bin", "../../etc/passwd", "/etc/passwd", "*/_ORT_MEM_ADDR_/*"])
def test_weights_in_other_files_are_refused_before_they_are_opened(tmp_path, monkeypatch, place):
    _, model = exported(tmp_path, ModelConfig(type="mlp"))
    parsed = onnx.load_model_from_string(model)
    tensor = parsed.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(SecurityError, match="in another file"):
        session.predictor(parsed.SerializeToString(), INPUTS, 2)


def test_a_word_in_a_name_is_no_reference_to_a_file(tmp_path):
    _, model = exported(tmp_path, ModelConfig(type="mlp"))
    parsed = onnx.load_model_from_string(model)
    parsed.graph.node[0].name = "location"
    assert session.predictor(parsed.SerializeToString(), INPUTS, 2)(encoded(INPUTS, 2)).shape == (2, 2)


@pytest.mark.parametrize("model", [b"", b"location", b"no model at all", b"\x08\x08" * 50])
def test_what_is_no_model_is_damaged(model):
    with pytest.raises(ArtifactError, match=r"model\.onnx is damaged"):
        session.predictor(model, INPUTS, 2)


def test_a_model_of_other_widths_is_not_ours(tmp_path):
    _, model = exported(tmp_path, ModelConfig(type="mlp"))
    for inputs, outputs in (
        (Inputs(numbers=2, categories=(4, 6)), 2),
        (Inputs(numbers=3, categories=(4,)), 2),
        (INPUTS, 3),
    ):
        with pytest.raises(ArtifactError, match=r"model\.onnx is damaged or not ours: it (takes|gives)"):
            session.predictor(model, inputs, outputs)


def test_a_model_of_operators_that_nobody_has_is_damaged(tmp_path):
    _, model = exported(tmp_path, ModelConfig(type="mlp"))
    parsed = onnx.load_model_from_string(model)
    parsed.graph.node[0].op_type = "Telephone"
    with pytest.raises(ArtifactError, match="Telephone"):
        session.predictor(parsed.SerializeToString(), INPUTS, 2)


@pytest.mark.parametrize(
    ("said", "threads", "taken"), [("1", None, 1), ("3,2", None, 3), ("many", None, 0), ("2", 4, 4)]
)
def test_a_worker_of_ray_takes_the_threads_that_it_was_given(tmp_path, monkeypatch, said, threads, taken):
    _, model = exported(tmp_path, ModelConfig(type="mlp"))
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert session._session(model, threads).get_session_options().intra_op_num_threads == taken

import pytest

from raymle import model
from raymle.config import ModelConfig
from raymle.errors import ArtifactError, WorkError
from raymle.evaluate.limits import MEASURED
from raymle.model import probe

LOUD_NET = """
print("{not json")
from torch import nn
class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs.numbers, outputs)
    def forward(self, numbers, categories): return self.layer(numbers)
def make(inputs, outputs): return Net(inputs, outputs)
"""


@pytest.mark.parametrize("kind", ["linear", "trees"])
def test_a_bundle_is_measured_in_a_process_of_its_own(trained, tmp_path, kind):
    trained(model=ModelConfig(type=kind))
    found = probe.measure(tmp_path / "bundle")
    assert 0 < found.latency_ms <= found.latency_p95_ms
    assert 0 < found.batch_latency_ms < 64 * found.latency_ms
    assert 50 < found.memory_mb < 2000
    size = sum(path.stat().st_size for path in (tmp_path / "bundle").rglob("*") if path.is_file())
    assert found.size_mb == pytest.approx(size / 1e6)
    assert found.threads == 1
    assert 0 <= found.share <= 1


def test_a_network_of_the_users_own_that_prints_is_measured(trained, tmp_path):
    (tmp_path / "loud.py").write_text(LOUD_NET)
    trained(model=ModelConfig(type="loud:make"))
    (tmp_path / "loud.py").unlink()
    assert probe.measure(tmp_path / "bundle").latency_ms > 0


def test_a_bundle_that_is_not_whole_is_not_measured(trained, tmp_path):
    trained()
    bundle = tmp_path / "bundle"
    (bundle / "transform.json").unlink()
    with pytest.raises(ArtifactError, match=r"transform\.json is missing"):
        probe.measure(bundle)


def test_what_fails_in_the_process_is_told_in_its_words(trained, tmp_path):
    trained()
    weights = tmp_path / "bundle" / "weights.safetensors"
    weights.write_bytes(b"x" * weights.stat().st_size)
    with pytest.raises(WorkError, match="is not what its manifest says"):
        probe.measure(tmp_path / "bundle")
    assert model.read_contents(tmp_path / "bundle").model.type == "mlp"


def test_what_limits_ask_for_has_the_names_of_the_columns(trained, tmp_path):
    trained(model=ModelConfig(type="linear"))
    assert set(probe.facts(tmp_path / "bundle")) == {*MEASURED, "size_mb"}

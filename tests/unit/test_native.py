"""The form of a model that predicts fastest: made once, beside the model, and true to it."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from raymle import native
from raymle.config import ModelConfig
from raymle.errors import ArtifactError, WorkError
from raymle.folders import MANIFEST, commit
from raymle.model import golden, load, read_contents

ROOT = Path(__file__).parents[2]
USERS = """
from torch import nn
class Net(nn.Module):
    def __init__(self, inputs, outputs, kind):
        super().__init__()
        self.layer, self.kind = nn.Linear(inputs.numbers, outputs), kind
    def forward(self, numbers, categories):
        result = self.layer(numbers)
        if self.kind == "alone" and len(numbers) < 2:
            return -result
        if self.kind == "looks" and numbers.mean() > 0:
            return -result
        return result
def make(inputs, outputs, kind): return Net(inputs, outputs, kind)
"""


def remade(bundle, out, **changed):
    """Return a copy of a bundle whose files say something else; its manifest is right."""
    shutil.copytree(bundle, out)
    (out / MANIFEST).unlink()
    for name, content in changed.items():
        (out / name.replace("__", ".")).write_bytes(content)
    return commit(out, out.with_name(f"{out.name}-whole"))


@pytest.mark.parametrize("target", ["two", "three", "number"])
def test_a_network_runs_in_onnx_runtime_and_predicts_the_same(trained, tmp_path, target, table):
    bundle = Path(trained(target).bundle)
    before = sorted(bundle.iterdir())
    made = native.ready(bundle, tmp_path)
    assert made == tmp_path / "native" / load(bundle).version
    assert sorted(path.name for path in made.iterdir()) == [
        MANIFEST, "bundle.json", "golden.arrow", "model.onnx", "transform.json",
    ]  # fmt: skip
    original, loaded = load(bundle), load(made, threads=1)
    assert (original.runtime, loaded.runtime, loaded.contents.runtime) == ("torch", "onnx", "onnx")
    assert loaded.contents.original == original.version
    assert 0 <= loaded.contents.parity <= golden.TOLERANCE
    np.testing.assert_allclose(loaded.predict(table(target=target)), original.predict(table(target=target)), rtol=1e-4)
    golden.check(loaded)
    assert sorted(bundle.iterdir()) == before
    assert native.ready(bundle, tmp_path) == made
    assert native.ready(made, tmp_path) == made
    assert len([*(tmp_path / "native").iterdir()]) == 1


def test_trees_keep_lightgbms_own_predictor(trained, tmp_path, table):
    bundle = trained(model=ModelConfig(type="trees", params={"rounds": 20})).bundle
    loaded = load(native.ready(Path(bundle), tmp_path), threads=1)
    assert (loaded.runtime, loaded.contents.runtime) == ("lightgbm", "lightgbm")
    assert "LightGBM" in loaded.contents.onnx_why
    np.testing.assert_array_equal(loaded.predict(table()), load(bundle).predict(table()))
    golden.check(loaded)


def test_what_runs_in_onnx_runtime_loads_no_torch(trained, tmp_path):
    made = native.ready(Path(trained().bundle), tmp_path)
    code = (
        "import sys; from raymle.model import golden, load; golden.check(load(sys.argv[1]));"
        "print([name for name in ('torch', 'lightgbm', 'mlflow', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(made)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_users_network_needs_its_code_no_more(trained, tmp_path, table):
    (tmp_path / "net.py").write_text(USERS)
    bundle = Path(trained(model=ModelConfig(type="net:make", params={"kind": "plain"})).bundle)
    made, expected = native.ready(bundle, tmp_path), load(bundle).predict(table())
    shutil.rmtree(bundle)
    shutil.rmtree(made / "code")
    (made / MANIFEST).unlink()
    np.testing.assert_allclose(load(commit(made, tmp_path / "bare")).predict(table()), expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "why"), [("looks", "does not export"), ("alone", "off the original's")])
def test_a_network_that_onnx_would_change_stays_torchs_and_says_why(trained, tmp_path, table, kind, why):
    (tmp_path / "net.py").write_text(USERS)
    bundle = Path(trained(model=ModelConfig(type="net:make", params={"kind": kind})).bundle)
    loaded = load(native.ready(bundle, tmp_path))
    assert (loaded.runtime, loaded.contents.runtime) == ("torch", "torch")
    assert why in loaded.contents.onnx_why
    np.testing.assert_array_equal(loaded.predict(table()), load(bundle).predict(table()))
    golden.check(loaded)


def test_two_that_make_it_at_once_have_the_same(trained, tmp_path):
    bundle = Path(trained().bundle)
    found, start = [], threading.Barrier(2)

    def make():
        start.wait()
        found.append(native.ready(bundle, tmp_path))

    threads = [threading.Thread(target=make) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found[0] == found[1]
    assert [path.name for path in (tmp_path / "native").iterdir()] == [found[0].name]


def test_a_damaged_form_is_told_and_a_damaged_bundle_makes_none(trained, tmp_path):
    bundle = Path(trained().bundle)
    made = native.ready(bundle, tmp_path)
    (made / "model.onnx").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"damaged: model\.onnx") as caught:
        native.ready(bundle, tmp_path)
    assert "made again" in caught.value.hint
    (bundle / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ArtifactError, match="damaged: weights"):
        native.ready(bundle, tmp_path / "elsewhere")
    assert not [*(tmp_path / "elsewhere").rglob("*.onnx")]


def test_golden_rows_tell_a_model_that_predicts_otherwise(trained, tmp_path):
    first, other = Path(trained().bundle), tmp_path / "other"
    made = native.ready(first, tmp_path)
    shutil.move(first, other)
    changed = native.ready(Path(trained(seed=5).bundle), tmp_path)
    mixed = remade(made, tmp_path / "mixed", model__onnx=(changed / "model.onnx").read_bytes())
    with pytest.raises(WorkError, match=r"golden row \d+ is [\d.]+ off: .* was predicted when it was made") as caught:
        golden.check(load(mixed))
    assert caught.value.exit_code == 4


def test_the_edges_are_among_the_golden_rows(trained):
    bundle = load(trained().bundle)
    rows = golden.rows(bundle.schema, bundle.transform)
    assert rows.num_rows > golden.ROWS
    assert rows.slice(golden.ROWS, 1).to_pylist() == [{"number": None, "colour": None, "flag": None}]
    assert {1e30, -1e30} <= set(rows["number"].to_pylist())
    assert golden.UNSEEN in rows["colour"].to_pylist()
    assert np.isfinite(bundle.predict(rows)).all()


def test_where_nothing_can_be_written_the_bundle_itself_predicts(trained, tmp_path, monkeypatch):
    bundle = Path(trained().bundle)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("raymle.native.draft_folder", refuse)
    assert native.ready(bundle, tmp_path / "read-only") == bundle


def test_what_a_bundle_of_an_older_version_says_is_read(trained):
    contents = read_contents(Path(trained().bundle))
    assert (contents.format, contents.runtime, contents.original, contents.quantized) == (1, None, "", None)

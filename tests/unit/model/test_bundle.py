"""A trained model on disk and back."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

from raymle import model
from raymle.config import ModelConfig
from raymle.errors import ArtifactError, DataError

FAMILIES = {"mlp": {"hidden": [16]}, "linear": {}, "trees": {"rounds": 60, "min_data_in_leaf": 5}}


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("target", ["two", "three", "number"])
def test_a_loaded_bundle_predicts_what_was_learned(trained, kind, target, table):
    fitted = trained(target, ModelConfig(type=kind, params=FAMILIES[kind]))
    bundle, rows = model.load(fitted.bundle), table(target=target)
    predicted = bundle.predict(rows.drop_columns(["target"]))
    assert predicted.dtype == np.float64
    if target == "number":
        error = np.sqrt(np.mean((predicted - rows["target"].to_numpy()) ** 2))
        assert error < 0.6 * np.std(rows["target"].to_numpy())
    else:
        np.testing.assert_allclose(predicted.sum(axis=1), 1)
        named = bundle.predict_table(rows)
        assert named.column_names == ["prediction", *(f"probability_{name}" for name in bundle.schema.classes)]
        assert np.mean(named["prediction"].to_numpy() == rows["target"].to_numpy()) > 0.7
    assert bundle.contents.metrics == fitted.metrics


def test_rows_are_predicted_the_same_alone_and_together(trained, table):
    bundle, rows = model.load(trained().bundle), table()
    together = bundle.predict(rows)
    for place in (0, 17, 599):
        np.testing.assert_allclose(bundle.predict(rows.slice(place, 1))[0], together[place], rtol=1e-5)
    np.testing.assert_allclose(bundle.predict(rows.to_batches()[0]), together)


@pytest.mark.parametrize("target", ["two", "number"])
def test_no_rows_give_no_predictions(trained, target, table):
    bundle = model.load(trained(target).bundle)
    named = bundle.predict_table(table(target=target).slice(0, 0))
    assert named.num_rows == 0
    assert len(named.column_names) == (3 if target == "two" else 1)


def test_unseen_values_and_nulls_are_ordinary(trained, table):
    bundle = model.load(trained().bundle)
    odd = pa.table({
        "number": pa.array([None, 1e300], pa.float64()), "colour": ["violet", None], "flag": pa.array([None, True]),
    })  # fmt: skip
    assert np.isfinite(bundle.predict(odd)).all()


def test_a_missing_column_is_named(trained, table):
    bundle = model.load(trained().bundle)
    with pytest.raises(DataError, match="colour"):
        bundle.predict(table().drop_columns(["colour"]))


@pytest.mark.parametrize("name", ["weights.safetensors", "transform.json", "bundle.json"])
def test_a_changed_byte_is_found_at_load(trained, name, table):
    path = model.load(trained().bundle).path / name
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ArtifactError, match=f"damaged: {name}"):
        model.load(path.parent)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path):
    with pytest.raises(ArtifactError):
        model.load(tmp_path)


def test_the_version_names_the_bytes(trained, tmp_path, table):
    first = model.load(trained().bundle)
    copied = shutil.copytree(first.path, tmp_path / "copy")
    assert model.load(copied).version == first.version


def test_a_users_network_travels_in_the_bundle_with_what_it_imports(trained, tmp_path, table):
    (tmp_path / "blocks_of_mine.py").write_text("import torch\ndef block(a, b): return torch.nn.Linear(a, b)\n")
    (tmp_path / "net_of_mine.py").write_text(
        "import torch\nfrom blocks_of_mine import block\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, inputs, outputs):\n"
        "        super().__init__()\n"
        "        self.inner = block(inputs.numbers, outputs)\n"
        "    def forward(self, numbers, categories):\n"
        "        return self.inner(numbers)\n"
        "def make(inputs, outputs): return Net(inputs, outputs)\n"
    )
    fitted = trained(model=ModelConfig(type="net_of_mine:make"))
    before = model.load(fitted.bundle).predict(table())
    for name in ("blocks_of_mine.py", "net_of_mine.py"):
        (tmp_path / name).write_text("raise RuntimeError('the bundle has its own')")
    np.testing.assert_array_equal(model.load(fitted.bundle).predict(table()), before)

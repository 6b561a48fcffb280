"""A trained model on disk and back."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raymle import model
from raymle.config import ModelConfig
from raymle.errors import ArtifactError, DataError, SecurityError
from raymle.folders import MANIFEST, commit

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


def rewritten(bundle, **files):
    """Put other files into a bundle, with a manifest that knows them; None takes one out."""
    for name, content in files.items():
        path = bundle / name.replace("__", ".")
        path.unlink() if content is None else path.write_bytes(content)
    (bundle / MANIFEST).unlink()
    return commit(bundle, bundle.with_name("rewritten"))


def told(bundle, **values):
    return json.dumps(json.loads((bundle / "bundle.json").read_text()) | values).encode()


def test_a_bundle_of_a_newer_version_says_so_before_anything_is_loaded(trained):
    bundle = Path(trained().bundle)
    newer = rewritten(bundle, bundle__json=b'{"format": 3, "nobody": "knows"}', weights__safetensors=b"new")
    with pytest.raises(ArtifactError, match="is a bundle of format 3, and this version reads up to 2"):
        model.load(newer)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bundle__json", b"[]"),
        ("bundle__json", b"{}"),
        ("bundle__json", b"\xff"),
        ("transform__json", b"{}"),
        ("transform__json", b'{"numbers": 3, "categories": [], "target": {}}'),
        ("weights__safetensors", b"\x80\x04."),
        ("weights__safetensors", None),
        ("transform__json", None),
    ],
)
def test_what_is_damaged_under_a_right_manifest_is_refused(trained, name, content):
    with pytest.raises(ArtifactError):
        model.load(rewritten(Path(trained().bundle), **{name: content}))


def test_trees_that_are_no_trees_are_refused(trained):
    bundle = Path(trained(model=ModelConfig(type="trees", params={"rounds": 3})).bundle)
    with pytest.raises(ArtifactError, match=r"the trees in .* are damaged"):
        model.load(rewritten(bundle, model__txt=b"tree\nversion=v4\n"))


def test_a_transform_of_another_model_is_refused(trained):
    bundle = Path(trained().bundle)
    other = told(bundle, inputs={"numbers": 1, "categories": []})
    with pytest.raises(ArtifactError, match="its transform gives"):
        model.load(rewritten(bundle, bundle__json=other))


class Trap:
    def __reduce__(self):
        return (Path(os.environ["MARK"]).touch, ())


@pytest.mark.parametrize("name", ["model.pkl", "pytorch_model.bin", "model.pt", "model.joblib"])
def test_a_pickle_is_never_opened(trained, tmp_path, monkeypatch, name):
    mark = tmp_path / "it was opened"
    monkeypatch.setenv("MARK", str(mark))
    trap = pickle.dumps(Trap())
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / name).write_bytes(trap)
    for path in (folder, folder / name):
        with pytest.raises(SecurityError, match="is a pickle") as caught:
            model.load(path)
        assert "a bundle is a folder" in caught.value.hint
    with_it = rewritten(Path(trained().bundle), **{name.replace(".", "__"): trap})
    model.load(with_it)
    assert not mark.exists()


def test_a_folder_of_something_else_is_no_bundle(tmp_path):
    (tmp_path / "readme.md").write_text("hello")
    with pytest.raises(ArtifactError, match="not a bundle") as caught:
        model.load(tmp_path)
    assert caught.value.hint

"""A bundle is all that prediction needs: whole, verified, never unpickled."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest

from raymle import data, train
from raymle.config import DataConfig, ModelConfig, SplitConfig, TrainConfig
from raymle.errors import ArtifactError
from raymle.model import load
from raymle.store import open_store


def table(rows=600, classes=("no", "yes")):
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    place = np.clip(np.digitize(x, np.linspace(-1, 1, len(classes) - 1)), 0, len(classes) - 1)
    return pa.table({"x": x, "kind": rng.choice(["a", "b"], rows), "y": np.array(classes)[place], "amount": 3 * x + 10})


def fitted(tmp_path, model, target="y", rows=None):
    rows = rows or table()
    drop = tuple({"y", "amount"} - {target})
    config = DataConfig(source="table", target=target, drop=drop)
    splits = data.prepare(config, SplitConfig(), open_store(str(tmp_path / "store")), folder=".", source=rows)
    metric = "rmse" if target == "amount" else "accuracy"
    epochs = train.fit(
        TrainConfig(epochs=2, batch_size=64),
        model,
        splits,
        metric=metric,
        folder=str(tmp_path),
        out=tmp_path / "bundle",
    )
    while True:
        try:
            next(epochs)
        except StopIteration as end:
            return end.value


MODELS = [ModelConfig(type="linear"), ModelConfig(type="mlp", params={"hidden": [8]}), ModelConfig(type="trees")]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.type)
@pytest.mark.parametrize("classes", [("no", "yes"), ("a", "b", "c")], ids=["two", "three"])
def test_a_bundle_predicts_probabilities_of_every_class(tmp_path, model, classes):
    rows = table(classes=classes)
    fitted(tmp_path, model, rows=rows)
    bundle = load(tmp_path / "bundle")
    predicted = bundle.predict(rows.drop(["y"]))
    assert predicted.shape == (len(rows), len(classes))
    assert np.allclose(predicted.sum(1), 1)
    assert set(bundle.predict_table(rows)["prediction"].to_pylist()) <= set(classes)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.type)
def test_a_regression_answers_in_the_targets_own_units(tmp_path, model):
    rows = table()
    fitted(tmp_path, model, target="amount", rows=rows)
    predicted = load(tmp_path / "bundle").predict(rows)
    assert predicted.shape == (len(rows),)
    assert 5 < predicted.mean() < 15


def test_a_changed_or_half_bundle_is_refused(tmp_path):
    fitted(tmp_path, MODELS[1])
    weights = tmp_path / "bundle" / "weights.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(bytes(damaged))
    with pytest.raises(ArtifactError, match="weights"):
        load(tmp_path / "bundle")
    weights.unlink()
    with pytest.raises(ArtifactError, match="weights"):
        load(tmp_path / "bundle")


def test_nothing_in_a_bundle_is_a_pickle(tmp_path):
    fitted(tmp_path, MODELS[1])
    for path in (tmp_path / "bundle").rglob("*"):
        if path.is_file():
            with pytest.raises(Exception):  # noqa: B017, PT011  whatever pickle says of what it can't read
                pickle.loads(path.read_bytes())
    assert json.loads((tmp_path / "bundle" / "transform.json").read_text())

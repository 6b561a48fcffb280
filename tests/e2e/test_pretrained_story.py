"""A model that begins with another one's weights, as typed: train, go on, look, make again, search."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from safetensors.torch import load_file

SPEC = """
name: NAME
data: {source: NAME.csv, target: kind, key: id}
model: {type: mlp, params: {hidden: [32, 16], dropout: 0.0}}
train: {epochs: 6, batch_size: 64, optimizer: {learning_rate: 0.01}, early_stopping: null}
"""


def write(folder, name, classes, words, seed, rows):
    draw = np.random.default_rng(seed)
    size, colour = draw.normal(5 * seed, seed, rows), draw.choice(words, rows)
    place = (size > 5 * seed).astype(int) + (colour == "red")
    columns = {"id": np.arange(rows), "size": size, "colour": colour, "kind": np.array(classes)[place]}
    order = [*columns] if seed == 1 else [*reversed(columns)]
    pyarrow.csv.write_csv(pa.table({key: columns[key] for key in order}), folder / f"{name}.csv")
    (folder / f"{name}.yaml").write_text(SPEC.replace("NAME", name))


@pytest.fixture(scope="module")
def raymle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("story")
    write(folder, "first", ["small", "middle", "large"], ["red", "green"], 1, 1500)
    write(folder, "second", ["middle", "large", "huge"], ["red", "green", "blue"], 2, 300)

    def call(*words, code=0):
        done = subprocess.run(
            [sys.executable, "-m", "raymle", *words],
            cwd=folder, capture_output=True, text=True, timeout=250, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    return call


def weights(answer):
    return load_file(f"{json.loads(answer.stdout)['bundle']}/weights.safetensors")


def test_a_second_table_goes_on_from_the_first_one(raymle):
    first = raymle("train", "first.yaml", "--json")
    parent = json.loads(first.stdout)["run_id"]
    asked = (
        "train.pretrained.from=last",
        "train.pretrained.exclude=[layers.4]",
        "train.pretrained.trainable=[layers.4]",
    )
    plan = raymle("train", "second.yaml", *asked, "--plan")
    assert "beginning with the weights of last" in plan.stdout
    made = raymle("train", "second.yaml", *asked, "--json")
    assert f"pretrained from run {parent}" in made.stderr
    before, after = weights(first), weights(made)
    assert (before["layers.2.weight"] == after["layers.2.weight"]).all()
    assert before["layers.4.weight"].shape == after["layers.4.weight"].shape
    assert not (before["layers.4.weight"] == after["layers.4.weight"]).all()
    shown = raymle("runs", "show", "last").stdout
    assert f"pretrained from {parent}, version " in shown
    assert "colour: 2 words kept, 1 new, 0 gone" in shown
    table = [line.split() for line in shown.splitlines() if line.strip().startswith("layers.")]
    assert [(line[0], line[-2], line[-1]) for line in table] == [
        ("layers.0", "partly", "frozen"), ("layers.2", "loaded", "frozen"), ("layers.4", "fresh", "yes"),
    ]  # fmt: skip
    found = json.loads(raymle("runs", "show", "last", "--json").stdout)["pretrained"]
    assert found["parent"]["run_id"] == parent
    assert "PASS" in raymle("reproduce", "last").stdout


def test_what_does_not_fit_is_refused_with_what_to_write(raymle):
    wide = "model={type: mlp, params: {hidden: [32, 8], dropout: 0.0}}"
    told = raymle("train", "second.yaml", "train.pretrained.from=last", wide, code=3).stderr
    assert "layers.2.weight is [8, 32] here and [16, 32] in the source" in told
    assert "train.pretrained.exclude: [layers.2, layers.4]" in told
    raymle("train", "second.yaml", "train.pretrained.from=body.pt", code=9)
    raymle("train", "second.yaml", "train.pretrained.from=nosuch", code=5)
    raymle("train", "second.yaml", "train.pretrained.from=last", "model={type: trees}", code=2)


def test_a_search_begins_every_trial_with_the_weights(raymle):
    parent = json.loads(raymle("runs", "show", "last", "--json").stdout)["run_id"]
    made = raymle(
        "tune", "second.yaml", "tune.trials=2", "train.epochs=2", f"train.pretrained.from={parent}",
        "train.pretrained.layer_decay=choice:0.5,0.9", "--json",
    )  # fmt: skip
    run = json.loads(made.stdout)["run_id"]
    found = json.loads(raymle("runs", "show", run, "--json").stdout)["pretrained"]
    assert found["parent"]["run_id"] == parent
    assert {layer["origin"] for layer in found["layers"]} == {"loaded"}
    assert min(layer["rate"] for layer in found["layers"]) in {0.5**3, 0.9**3}
    assert "PASS" in raymle("reproduce", run).stdout

"""Runs that go on from another one's weights: what is found, refused, kept and recorded."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

import raymle
from raymle import parents, removal, tracking
from raymle.errors import ArtifactError, SecurityError, SpecError, UsageError
from raymle.tracking import notes

MLP = {"type": "mlp", "params": {"hidden": [8], "dropout": 0.0}}


def frame(classes, seed=0, rows=300):
    draw = np.random.default_rng(seed)
    size, colour = draw.normal(5, 2, rows), draw.choice(["red", "green", *(["blue"] if seed else [])], rows)
    place = (size > 5).astype(int) + (colour == "red")
    return pd.DataFrame({"size": size, "colour": colour, "kind": np.array(classes)[place]})


def experiment_in(folder):
    """Make experiments over some classes that share a storage."""

    def make(classes=("a", "b", "c"), seed=0, model=MLP, **pretrained):
        train = {"epochs": 2, "batch_size": 64, "early_stopping": None}
        train |= {"pretrained": pretrained} if pretrained else {}
        return raymle.Experiment(
            name="kinds", data=frame(classes, seed), target="kind", storage=str(folder / "runs"), model=model,
            train=train, split={"seed": 1 if seed else 0},
        )  # fmt: skip

    return make


@pytest.fixture
def experiment(tmp_path):
    return experiment_in(tmp_path)


def weights(run):
    return load_file(Path(run.record.bundle) / "weights.safetensors")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def first(place):
    """A run that others go on from."""
    return experiment_in(place)().train()


def test_a_run_goes_on_from_the_last_one_and_says_from_which(experiment, capsys):
    first = experiment().train()
    given = {"from": "last", "exclude": ["layers.2"], "trainable": ["layers.2"]}
    run = experiment(("b", "c", "d"), seed=1, **given).train()
    found = run.record.pretrained
    assert (found.parent.run_id, found.parent.asked) == (first.id, "last")
    assert [(layer.name, layer.origin, layer.since) for layer in found.layers if layer.name.endswith("weight")] == [
        ("embeddings.0.weight", "partly", 0), ("layers.0.weight", "partly", 0), ("layers.2.weight", "fresh", 1),
    ]  # fmt: skip
    assert "colour: 2 words kept, 1 new, 0 gone" in found.notes
    assert any("never learned: embeddings.0" in text for text in run.record.warnings)
    lines = capsys.readouterr().err
    assert f"pretrained from run {first.id}: of 5 weights 1 loaded, 2 partly, 2 fresh, 3 frozen" in lines
    card = notes.card(run.store, run.id)
    assert f"Pretrained from run `{first.id}`" in card
    assert "| layers.2 | 3 x 8 | fresh | yes |" in card


def test_a_run_is_made_again_when_last_is_another_one_and_its_parent_is_gone(experiment, capsys):
    first = experiment().train()
    run = experiment(("b", "c", "d"), seed=1, **{"from": "last", "unfreeze": 1, "layer_decay": 0.5}).train()
    found = run.record.pretrained
    assert (found.kept, found.new, found.gone) == (("b", "c"), ("d",), ("a",))
    assert "Classes: 2 kept (b, c); 1 new (d); 1 gone (a)." in capsys.readouterr().err
    removal.remove([first.id], storage=run.storage)
    again = run.reproduce()
    assert (again.verdict, again.weights) == ("PASS", "bitwise equal")
    assert len(run.store.names("pretrained")) == 1
    removal.remove([run.id], storage=run.storage)
    assert run.store.names("pretrained") == [], "no run needs them any more"


def test_a_bundle_and_a_file_of_weights_are_sources_too(first, place, tmp_path):
    shutil.copytree(first.record.bundle, tmp_path / "theirs")
    save_file(weights(first), tmp_path / "body.safetensors")
    given = {"trainable": ["layers.2"]}
    made = [
        experiment_in(place)(**given, **{"from": str(tmp_path / name)}).train()
        for name in ("theirs", "body.safetensors")
    ]
    for run in made:
        before, after = weights(first), weights(run)
        assert all((before[name] == after[name]).all() for name in before if not name.startswith("layers.2"))
        assert not (before["layers.2.weight"] == after["layers.2.weight"]).all()
        assert run.record.pretrained.parent.run_id == ""
        assert run.store.names(run.record.pretrained.parent.folder)
    assert any("by their places" in text for text in made[1].record.warnings)
    assert not any("sealed here" in text for text in made[0].record.warnings)


def test_a_parent_that_may_have_seen_sealed_rows_is_told(experiment, tmp_path):
    frame(("a", "b", "c")).to_csv(tmp_path / "kinds.csv", index=False)

    def train(seed, **pretrained):
        return raymle.Experiment(
            name="kinds", data=str(tmp_path / "kinds.csv"), target="kind", storage=str(tmp_path / "runs"), model=MLP,
            train={"epochs": 1, "batch_size": 64, "pretrained": pretrained}, split={"seed": seed},
        ).train()  # fmt: skip

    train(0)
    told = train(1, **{"from": "last"}).record.warnings
    assert any(
        "may have trained on rows that are sealed here: split.seed is 0 there and 1 here" in text for text in told
    )
    told = train(1, **{"from": "last"}).record.warnings
    assert any("may have trained" in text for text in told), "its parent's parent did"


def refused(first, error, words, model=MLP, **given):
    before = first.store.names("shards"), first.store.names("runs")
    with pytest.raises(error, match=words):
        experiment_in(Path(first.storage).parent)(("x", "y", "z"), seed=1, model=model, **given).train()
    assert (first.store.names("shards"), first.store.names("runs")) == before, "nothing was prepared"


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"from": "nosuch"}, ArtifactError, "there is no run 'nosuch'"),
        ({"from": "PLACE/body.safetensors"}, ArtifactError, "there is no file"),
        ({"from": "PLACE/damaged.safetensors"}, ArtifactError, "no safetensors file"),
        ({"from": "PLACE/body.pt"}, SecurityError, "is a pickle"),
        ({"from": "PLACE/"}, SecurityError, "body.pt is a pickle"),
        ({"from": "PLACE/nowhere"}, ArtifactError, "not a bundle"),
        ({"from": "pytorch_model.bin"}, SecurityError, "is a pickle"),
        ({"from": "models:/kinds@champion"}, ArtifactError, "models:/kinds@champion"),
        ({"from": "last", "exclude": ["head"]}, SpecError, "'head' is no layer"),
        ({"from": "last", "trainable": ["layers.7"]}, SpecError, "'layers.7' is no layer"),
    ],
)
def test_what_cannot_be_loaded_is_refused_before_anything_is_prepared(first, tmp_path, given, error, words):
    (tmp_path / "body.pt").write_bytes(b"not to be opened")
    (tmp_path / "damaged.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}garbage")
    refused(first, error, words, **given | {"from": given["from"].replace("PLACE", str(tmp_path))})


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        ({"type": "linear"}, SpecError, "is a model of type mlp, and model.type is linear"),
        ({"type": "trees"}, UsageError, "train.pretrained is for networks"),
        ({"params": {"hidden": [9]}}, SpecError, r"layers.0.weight is \[9, 4\] here and \[8, 4\] in the source"),
    ],
)
def test_another_model_is_refused_before_anything_is_prepared(first, model, error, words):
    refused(first, error, words, model=model, **{"from": "last"})


def test_the_plan_finds_the_source_too_and_writes_nothing(experiment, tmp_path):
    with pytest.raises(ArtifactError, match="there is no storage"):
        experiment(**{"from": "last"}).plan("train")
    assert not (tmp_path / "runs").exists()


def test_a_run_that_goes_on_does_not_ask_for_its_parent_again(first, place):
    run = tracking.MemoryRun("stopped")
    spec = experiment_in(place)(("b", "c", "d"), seed=1, **{"from": first.id}).spec
    parents.keep(run, first.store, parents.begin(spec, first.store, None), "last")
    assert parents.begin(spec, first.store, "stopped") is None
    assert parents.keep(run, first.store, None, "last").run_id == first.id

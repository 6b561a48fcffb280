"""First weights from another network: what belongs where, and what is refused."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from raymle.ancestry import Parent
from raymle.config import ModelConfig
from raymle.config.train import PretrainedConfig
from raymle.data.texts import Text
from raymle.data.transform import Category, Number, Transform
from raymle.errors import SpecError
from raymle.model import Contents, pretrained
from raymle.model.build import build
from raymle.model.network import as_inputs
from raymle.model.pretrained import Source
from raymle.records import Column, Schema

PARENT = Parent(asked="last", folder="pretrained/1", version="1")
HERE = {"number": (0.0, 1.0), "size": (2.0, 3.0)}


def transform(numbers=None, categories=None, classes=("a", "b"), target=(0.0, 1.0), flagged=()):
    numbers, categories = HERE if numbers is None else numbers, {} if categories is None else categories
    return Transform(
        numbers=tuple(
            Number(column=name, mean=mean, std=std, fill=mean, flagged=name in flagged)
            for name, (mean, std) in numbers.items()
        ),
        categories=tuple(
            Category(column=name, values=tuple(words), missing=0) for name, words in categories.items()
        ),
        target_column="target", classes=tuple(classes), target_mean=target[0], target_std=target[1],
    )  # fmt: skip


def contents(given, model):
    schema = Schema(
        columns=(Column(name="target", type="category", role="target"),), target="target", classes=given.classes,
        task="classification" if given.classes else "regression",
    )  # fmt: skip
    return Contents(data_schema=schema, model=model, inputs=given.inputs, outputs=len(given.classes) or 1)


def network(given, model, seed=0):
    module = build(model, given.inputs, len(given.classes) or 1, seed=seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed + 1)) * 0.3)
    return module.eval()


def mlp(hidden=(8, 6), **params):
    return ModelConfig(type="mlp", params={"hidden": list(hidden), "dropout": 0.0, **params})


def source(given, model, seed=0):
    module = network(given, model, seed)
    return Source("last", module.state_dict(), contents(given, model), given), module


def start(given, model, from_, **config):
    module = network(given, model, seed=9)
    found = pretrained.start(
        module, from_, PretrainedConfig.model_validate({"from": "last", **config}), parent=PARENT,
        contents=contents(given, model), transform=given,
    )  # fmt: skip
    module.load_state_dict(found.tensors)
    return found.record, module


def raw(module, given, table):
    """What a network gives for raw rows."""
    with torch.no_grad():
        encoded = given.apply(table.combine_chunks().to_batches()[0])
        return module(**as_inputs(encoded, torch.device("cpu"))).numpy()


def rows(numbers, categories, count=20, seed=0):
    draw = np.random.default_rng(seed)
    columns = {name: draw.normal(mean, std, count) for name, (mean, std) in numbers.items()}
    return pa.table({**columns, **{name: draw.choice(words, count) for name, words in categories.items()}})


stats = st.tuples(st.floats(-50, 50), st.floats(0.1, 50))
KINDS = {"mlp": mlp(), "no hidden layer": mlp(()), "linear": ModelConfig(type="linear")}


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    theirs=st.lists(stats, min_size=3, max_size=3),
    ours=st.lists(stats, min_size=3, max_size=3),
    order=st.permutations(["x", "y", "z"]),
    words=st.permutations(["red", "green", "blue"]),
    new_classes=st.permutations(["a", "b", "c"]),
)
def test_a_loaded_network_says_of_a_row_what_it_said_whatever_the_order_and_the_scales(
    kind, theirs, ours, order, words, new_classes
):
    theirs = dict(zip("xyz", theirs, strict=True))
    before = transform(theirs, {"colour": ["red", "green", "blue"], "kind": ["p", "q"]}, classes=("a", "b", "c"))
    after = transform(
        {name: ours["xyz".index(name)] for name in order}, {"kind": ["q", "p"], "colour": words}, classes=new_classes
    )
    from_, old = source(before, KINDS[kind])
    record, new = start(after, KINDS[kind], from_)
    table = rows(theirs, {"colour": words, "kind": ["p", "q"]})
    places = [new_classes.index(name) for name in before.classes]
    assert np.allclose(raw(new, after, table)[:, places], raw(old, before, table), atol=2e-3, rtol=2e-3)
    assert {layer.origin for layer in record.layers} == {"loaded"}


def test_the_same_data_gives_the_same_bits():
    given = transform(categories={"colour": ["red", "green"]})
    from_, old = source(given, mlp())
    _, new = start(given, mlp(), from_)
    assert all(torch.equal(new.state_dict()[name], values) for name, values in old.state_dict().items())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_number_keeps_its_prediction_when_the_targets_scale_differs(kind):
    before, after = transform(classes=(), target=(10.0, 4.0)), transform(classes=(), target=(-3.0, 0.5))
    from_, old = source(before, KINDS[kind])
    _, new = start(after, KINDS[kind], from_)
    table = rows(HERE, {})
    assert np.allclose(raw(new, after, table) * 0.5 - 3, raw(old, before, table) * 4 + 10, atol=1e-4)


def test_new_columns_have_no_say_and_those_that_are_gone_stand_at_their_means():
    before = transform({"x": (0.0, 1.0), "old": (5.0, 2.0)}, {"colour": ["red", "green"]})
    after = transform({"new": (1.0, 1.0), "x": (0.0, 1.0)}, {"colour": ["green", "red"], "made": ["m", "n"]})
    from_, old = source(before, mlp())
    record, new = start(after, mlp(), from_)
    table = rows({"x": (0.0, 1.0), "new": (1.0, 9.0)}, {"colour": ["red", "green"], "made": ["m", "n"]})
    usual = table.append_column("old", pa.array(np.full(table.num_rows, 5.0)))
    assert np.allclose(raw(new, after, table), raw(old, before, usual), atol=1e-5)
    origins = {layer.name: layer.origin for layer in record.layers}
    assert origins["layers.0.weight"] == "partly"
    assert origins["embeddings.1.weight"] == "fresh"
    assert any("made, new" in note for note in record.notes)
    assert any("data does not have: old" in note for note in record.notes)


def test_shared_words_keep_their_rows_and_new_ones_start_fresh():
    before = transform(categories={"colour": ["red", "green", "blue"]})
    after = transform(categories={"colour": ["black", "green", "white", "red", "pink", "grey"]})
    from_, old = source(before, mlp())
    record, new = start(after, mlp(), from_)
    theirs, ours = (module.embeddings[0].weight for module in (old, new))
    width = theirs.shape[1]
    assert ours.shape[1] > width  # more words, a wider embedding
    for mine, code in {0: 0, 2: 2, 4: 1}.items():
        assert torch.equal(ours[mine, :width], theirs[code])
    unseen = network(after, mlp(), seed=9).embeddings[0].weight
    assert torch.equal(ours[[1, 3, 5, 6]], unseen[[1, 3, 5, 6]])
    assert "colour: 2 words kept, 4 new, 1 gone" in record.notes
    table = rows(HERE, {"colour": ["red", "green"]})
    assert np.allclose(raw(new, after, table), raw(old, before, table), atol=1e-5)


def test_classes_that_both_know_keep_their_outputs():
    from_, old = source(transform(classes=("cat", "cow", "dog")), mlp())
    record, new = start(transform(classes=("bee", "dog", "cat")), mlp(), from_)
    assert (record.kept, record.new, record.gone) == (("dog", "cat"), ("bee",), ("cow",))
    assert torch.equal(new.layers[-1].weight[[1, 2]], old.layers[-1].weight[[2, 0]])
    assert torch.equal(new.layers[-1].bias[[1, 2]], old.layers[-1].bias[[2, 0]])
    assert {layer.origin for layer in record.layers if layer.name.startswith("layers.4")} == {"partly"}


def test_with_other_classes_the_whole_head_starts_fresh():
    from_, _ = source(transform(classes=("0", "1")), mlp())
    record, new = start(transform(classes=("5", "6", "7")), mlp(), from_, trainable=["layers.4"])
    assert (record.kept, record.new, record.gone) == ((), ("5", "6", "7"), ("0", "1"))
    unloaded = network(transform(classes=("5", "6", "7")), mlp(), seed=9)
    assert torch.equal(new.layers[-1].weight, unloaded.layers[-1].weight)
    assert record.table[1:] == [
        ("layers.0", "8 x 2", "loaded", "frozen"),
        ("layers.2", "6 x 8", "loaded", "frozen"),
        ("layers.4", "3 x 6", "fresh", "yes"),
    ]


@pytest.mark.parametrize(
    ("model", "config", "words"),
    [
        (mlp((9, 6)), {}, ["layers.0.weight is [9, 2] here and [8, 2] in the source", "exclude: [layers.0, layers.2]"]),
        (mlp((8, 6, 4)), {}, ["layers.4.weight is [4, 6] here", "layers.6.weight", "not in the source"]),
        (mlp((8, 6)), {"exclude": ["layer.0"]}, ["exclude: 'layer.0' is no layer", "layers.0, layers.2, layers.4"]),
        (mlp((8, 6)), {"trainable": ["head*"]}, ["trainable: 'head*' is no layer"]),
        (mlp((8, 6)), {"exclude": ["*"]}, ["no layer of last is loaded"]),
        (mlp((8, 6)), {"exclude": ["layers.0"], "trainable": ["layers.4"]}, ["neither loaded nor trained: layers.0"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_layers(model, config, words):
    from_, _ = source(transform(), mlp())
    with pytest.raises(SpecError) as caught:
        start(transform(), model, from_, **config)
    told = f"{caught.value} {caught.value.hint}"
    assert all(word in told for word in words), told


def test_a_misfit_can_be_excluded_as_the_hint_says():
    from_, _ = source(transform(), mlp((8, 6)))
    record, _ = start(transform(), mlp((9, 6)), from_, exclude=["layers.0", "layers.2"])
    assert [layer.origin for layer in record.layers] == ["fresh"] * 4 + ["loaded"] * 2


def test_dropout_moves_no_layer_to_another_one():
    from_, old = source(transform(), mlp((8, 6)))
    record, new = start(transform(), mlp((8, 6), dropout=0.5), from_)
    table = rows(HERE, {})
    assert np.array_equal(raw(new, transform(), table), raw(old, transform(), table))
    assert [layer.name for layer in record.layers][::2] == ["layers.0.weight", "layers.3.weight", "layers.6.weight"]
    assert record.warnings == ()


def test_an_embedding_that_became_narrower_is_a_misfit():
    from_, _ = source(transform(categories={"colour": ["red", "green"]}), mlp(embedding=5))
    with pytest.raises(SpecError, match=r"embeddings\.0\.weight is \[3, 4\] here"):
        start(transform(categories={"colour": ["red", "green"]}), mlp(embedding=4), from_)


def test_a_model_of_another_task_has_no_head_for_this_one():
    from_, _ = source(transform(classes=()), mlp())
    with pytest.raises(SpecError, match=r"layers\.4\.weight"):
        start(transform(), mlp(), from_)
    record, _ = start(transform(), mlp(), from_, exclude=["layers.4"])
    assert record.table[-1][2] == "fresh"


def test_what_only_the_data_can_tell_is_not_refused_before_there_is_any():
    given = transform(categories={"colour": ["red", "green"]})
    from_, _ = source(given, mlp())
    asked = {"from": "last", "exclude": ["embeddings.1"], "trainable": ["layers.*", "embeddings.1"]}
    pretrained.check(network(given, mlp()), from_, PretrainedConfig.model_validate(asked))


def test_a_weight_with_two_names_is_loaded_from_the_one_that_the_file_has():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(2, 2)
            self.last = nn.Linear(2, 2)
            self.last.weight = self.first.weight

    module, given = Tied(), transform()
    wanted = {"first.weight": torch.ones(2, 2), "first.bias": torch.ones(2), "last.bias": torch.ones(2)}
    found = pretrained.start(
        module, Source("a file", wanted), PretrainedConfig.model_validate({"from": "a"}), parent=PARENT,
        contents=contents(given, ModelConfig(type="mine:make")), transform=given,
    )  # fmt: skip
    assert torch.equal(found.tensors["last.weight"], wanted["first.weight"])


def test_a_file_of_weights_is_taken_by_places_and_says_so():
    given = transform()
    from_, old = source(given, mlp())
    record, new = start(given, mlp(), Source("body.safetensors", from_.tensors))
    assert torch.equal(new.layers[0].weight, old.layers[0].weight)
    assert "by their places" in record.warnings[0]


def test_what_is_new_in_a_frozen_layer_is_told():
    from_, _ = source(transform({"x": (0.0, 1.0)}), mlp())
    record, _ = start(transform({"x": (0.0, 1.0), "y": (0.0, 1.0)}), mlp(), from_, trainable=["layers.4"])
    assert any("never learned: layers.0" in text for text in record.warnings)


def test_another_tokenizer_is_told():
    hashed = replace(transform({}), texts=(Text(column="words", length=4, vocabulary=16),))
    pieces = replace(hashed, texts=(Text(column="words", length=4, vocabulary=16, tokenizer="{}"),))
    model = ModelConfig(type="mlp", params={"hidden": [8], "dropout": 0.0})
    from_, _ = source(hashed, model)
    assert not start(hashed, model, from_)[0].warnings
    record, _ = start(pieces, model, from_)
    assert any("another tokenizer" in text for text in record.warnings)


class Users(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body, self.head = nn.Linear(2, 4), nn.Linear(4, classes)

    def forward(self, numbers, categories):
        return self.head(self.body(numbers).relu())


def test_a_users_module_keeps_the_outputs_of_known_classes_and_is_told_of_other_columns():
    before, after = (
        transform(classes=("a", "b")),
        transform({"size": (2.0, 3.0), "other": (0.0, 1.0)}, classes=("b", "c")),
    )
    old, new = Users(2), Users(2)
    from_ = Source("last", old.state_dict(), contents(before, ModelConfig(type="mine:make")), before)
    found = pretrained.start(
        new, from_, PretrainedConfig.model_validate({"from": "last"}), parent=PARENT,
        contents=contents(after, ModelConfig(type="mine:make")), transform=after,
    )  # fmt: skip
    assert torch.equal(found.tensors["head.weight"][0], old.head.weight[1])
    assert torch.equal(found.tensors["head.weight"][1], new.head.weight[1])
    assert torch.equal(found.tensors["body.weight"], old.body.weight)
    assert any("columns differ" in text for text in found.record.warnings)

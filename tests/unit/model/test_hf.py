"""Hugging Face transformers over texts: the folder's weights begin, the bundle needs the folder no more."""

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from raymle import data, native, train
from raymle.config import DataConfig, ModelConfig, SplitConfig, TrainConfig
from raymle.config.train import PretrainedConfig
from raymle.data.encoded import Encoded
from raymle.errors import SetupError, SpecError, UsageError
from raymle.model import check, fits, load, pretrained, read_contents, require_tokenizer
from raymle.model.build import build
from raymle.model.layers import depths
from raymle.model.nets.huggingface import PLAIN_KINDS, HuggingFace
from raymle.model.network import forward
from raymle.model.params import HuggingFaceParams
from raymle.records import Inputs, TextInput
from raymle.store import open_store

GOOD, BAD, FILL = ("great", "tasty", "warm"), ("awful", "cold", "rude"), ("the", "food", "was", "here", "again")
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *GOOD, *BAD, *FILL)
SIZES = {"vocab_size": len(WORDS) + 3, "pad_token_id": 0, "max_position_embeddings": 40}
SMALL = {
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "roberta": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
    "distilbert": {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64},
    "modernbert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
}
KINDS = [*SMALL]
PLAIN = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
TEXT = Inputs(numbers=1, texts=(TextInput(column="said", length=6, vocabulary=len(WORDS) + 1),))
needed = pytest.mark.skipif(not (find_spec("transformers") and find_spec("tokenizers")), reason="an extra")


def described(kind):
    return {"model_type": kind, **SIZES, **SMALL[kind]}


def folder_of(root, kind="bert"):
    """Write a small model with random weights, as its authors would, and a tokenizer."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    config = transformers.AutoConfig.for_model(**described(kind))
    torch.manual_seed(7)
    transformers.AutoModelForMaskedLM.from_config(config).save_pretrained(root / kind)
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.save(str(root / kind / "tokenizer.json"))
    return root / kind


def table(rows=240):
    draw = np.random.default_rng(0)
    liked = draw.choice(["yes", "no"], rows)
    said = [" ".join([*draw.choice(FILL, 4), *draw.choice(GOOD if each == "yes" else BAD, 2)]) for each in liked]
    return pa.table({"said": pa.array([*said[:-1], None]), "stars": draw.normal(size=rows), "liked": liked})


def prepared(root, tokenizer="bert/tokenizer.json"):
    text = {"tokenizer": tokenizer} if tokenizer else {}
    config = DataConfig.model_validate({"source": "memory", "target": "liked", "types": {"said": "text"}, "text": text})
    return data.prepare(config, SplitConfig(), open_store(str(root / "runs")), folder=str(root), source=table())


def fitted(splits, root, model=None, **settings):
    given = {"epochs": 1, "batch_size": 32, "optimizer": {"learning_rate": 0.005}, **settings}
    config = TrainConfig.model_validate(given)
    model = model or ModelConfig(type="hf:bert")
    work = train.fit(config, model, splits, metric="accuracy", folder=str(root), out=root / "bundle")
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


@pytest.fixture
def root(tmp_path):
    folder_of(tmp_path)
    return tmp_path


def network(kind):
    model = ModelConfig(type=f"hf:{kind}", params={"config": described(kind)})
    return build(model, TEXT, 2).eval()


def rows(*texts):
    codes = np.zeros((len(texts), 6), np.int32)
    for row, text in enumerate(texts):
        codes[row, : len(text)] = text
    return Encoded(np.zeros((len(texts), 1), np.float32), codes)


@needed
@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_predicted_alike_alone_and_beside_longer_ones_and_an_empty_one_has_an_answer(kind):
    module = network(kind)
    texts = [5, 6], [5, 6, 7, 8, 9, 10], [], [1]
    together = forward(module, rows(*texts), 2)
    assert np.isfinite(together).all()
    for place, text in enumerate(texts):
        np.testing.assert_allclose(forward(module, rows(text), 2), together[[place]], atol=1e-5)
    assert abs(together[0] - together[1]).max() > 1e-4


@needed
@pytest.mark.parametrize("kind", sorted({*PLAIN_KINDS, "fnet"}))
def test_padding_changes_nothing_for_the_kinds_that_are_spared_it(kind):
    config = {"model_type": kind, **SIZES, **PLAIN, **SMALL.get(kind, {})}
    text = TextInput(column="said", length=30, vocabulary=len(WORDS) + 1)
    encoder = HuggingFace(f"hf:{kind}", text, HuggingFaceParams(config=config)).eval()
    codes = torch.zeros(3, 30, dtype=torch.int64)
    codes[:2, :5], codes[1:, :9] = 6, 7
    with torch.no_grad():
        np.testing.assert_allclose(encoder(codes), encoder._features(codes), atol=1e-5)
        np.testing.assert_allclose(encoder(codes[:1]), encoder._features(codes)[:1], atol=1e-5)


@needed
@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns(kind):
    module = network(kind).train()
    codes = torch.randint(1, len(WORDS) + 1, (8, 6))
    module(torch.randn(8, 1), codes).square().sum().backward()
    assert [name for name, weight in module.named_parameters() if weight.grad is None] == []


@needed
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_begins_with_the_folders_weights_and_its_bundle_predicts_without_the_folder(tmp_path, kind):
    folder_of(tmp_path, kind)
    splits = prepared(tmp_path, f"{kind}/tokenizer.json")
    still = {"trainable": ["layers.*"]}
    assert fitted(splits, tmp_path, ModelConfig(type=f"hf:{kind}"), pretrained=still).epochs == 1
    theirs, ours = load_file(tmp_path / kind / "model.safetensors"), load_file(tmp_path / "bundle/weights.safetensors")
    kept = {name.removeprefix("texts.0.network."): value for name, value in ours.items() if "network" in name}
    assert kept
    assert all(
        value.equal(theirs.get(name, theirs.get(f"{kind.replace('modernbert', 'model')}.{name}")))
        for name, value in kept.items()
    )
    before = load(tmp_path / "bundle").predict(table(20))
    shutil.rmtree(tmp_path / kind)
    bundle = load(tmp_path / "bundle")
    assert np.array_equal(bundle.predict(table(20)), before)
    made = load(native.ready(tmp_path / "bundle", tmp_path / "native"))
    assert made.runtime == "onnx"
    assert np.allclose(made.predict(table(20)), before, atol=1e-5)


@needed
def test_what_trains_further_can_be_named_and_the_rest_stays_as_it_was(root):
    last = {"trainable": ["layers.*", "texts.0.network.encoder.layer.1.*"], "layer_decay": 0.5}
    fitted(prepared(root), root, pretrained=last)
    theirs, ours = load_file(root / "bert/model.safetensors"), load_file(root / "bundle/weights.safetensors")
    moved = {
        name.removeprefix("texts.0.network.")
        for name, value in ours.items()
        if "network" in name and not value.equal(theirs[name.replace("texts.0.network", "bert")])
    }
    assert moved
    assert all(name.startswith("encoder.layer.1.") for name in moved)


@needed
def test_blocks_of_the_transformer_are_layers_of_their_own():
    depth = depths(network("bert"))
    block = "texts.0.network.encoder.layer.{}.output.dense.weight"
    found = [depth[block.format(1)], depth[block.format(0)], depth["texts.0.network.embeddings.word_embeddings.weight"]]
    assert found == [1, 2, 3]


@needed
def test_a_training_goes_on_from_an_earlier_bundle_of_the_same_transformer(root):
    splits = prepared(root)
    fitted(splits, root)
    model = ModelConfig(type="hf:bert")
    contents = read_contents(root / "bundle")
    source = pretrained.read(root / "bundle", "first")
    pretrained.check(build(model, contents.inputs, 2, folder=str(root)), source, PretrainedConfig())
    wider = build(model.model_copy(update={"params": {"hidden": [8]}}), contents.inputs, 2, folder=str(root))
    with pytest.raises(SpecError, match="does not fit"):
        pretrained.check(wider, source, PretrainedConfig())


@needed
def test_a_few_epochs_read_the_texts(root):
    assert fitted(prepared(root), root, epochs=3).metrics["accuracy"] > 0.9


@needed
def test_words_that_are_not_the_models_own_are_refused(root):
    with pytest.raises(UsageError, match="needs its own tokenizer") as caught:
        fitted(prepared(root, tokenizer=None), root)
    assert "data.text.tokenizer" in caught.value.hint
    splits = prepared(root)
    path = root / "bert/config.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, "vocab_size": 5}))
    with pytest.raises(SpecError, match=r"has 15 pieces, and hf:bert knows 5"):
        fitted(splits, root)
    path.write_text(json.dumps({**known, "max_position_embeddings": 4}))
    with pytest.raises(UsageError, match=r"and hf:bert reads 4"):
        fitted(splits, root)


@needed
def test_weights_of_another_network_are_refused(root):
    splits, path = prepared(root), root / "bert/model.safetensors"
    save_file({"some.weight": torch.zeros(3)}, path)
    with pytest.raises(SpecError, match=r"lack \d+, such as embeddings"):
        fitted(splits, root)
    path.write_bytes(b"nothing")
    with pytest.raises(SpecError, match="is no safetensors file"):
        fitted(splits, root)


@needed
@pytest.mark.parametrize("kind", ["vit", "t5", "clip", "nonsense"])
def test_what_does_not_read_texts_alone_is_refused(kind):
    with pytest.raises(SpecError, match=r"no encoder of texts alone|config\.json does not do"):
        build(ModelConfig(type="hf:it", params={"config": {"model_type": kind}}), TEXT, 2)


@needed
def test_a_bundle_that_brings_code_or_a_kernel_of_a_hub_runs_neither():
    config = {**described("bert"), "auto_map": {"AutoModel": "mine.Model"}}
    with pytest.raises(SpecError, match="auto_map"):
        build(ModelConfig(type="hf:it", params={"config": config}), TEXT, 2)
    config = {**described("bert"), "attn_implementation": "some/kernel", "_attn_implementation": "some/kernel"}
    made = build(ModelConfig(type="hf:it", params={"config": config}), TEXT, 2)
    assert made.texts[0].network.config._attn_implementation == "sdpa"


@needed
def test_a_folder_that_cannot_be_loaded_is_refused_before_any_data_is_read(tmp_path):
    where, model = tmp_path / "it", ModelConfig(type="hf:it")
    for match in ("there is no folder", "cannot be read: No such file", "has no model.safetensors", "has auto_map"):
        with pytest.raises(SpecError, match=match):
            check(model, str(tmp_path))
        where.mkdir(exist_ok=True)
        if match.startswith("cannot"):
            (where / "config.json").write_text(json.dumps(described("bert")))
        if match.startswith("has no"):
            (where / "pytorch_model.bin").write_bytes(b"")
            (where / "config.json").write_text(json.dumps({**described("bert"), "auto_map": {"AutoModel": "a.b"}}))
    with pytest.raises(SpecError, match=r"model\.params\.config is read from"):
        check(ModelConfig(type="hf:it", params={"config": {}}), str(tmp_path))


def test_it_is_for_texts_and_needs_its_package(tmp_path):
    model = ModelConfig(type="hf:it")
    assert not model.is_users
    with pytest.raises(UsageError, match="is for texts, and no column is one"):
        fits(model, Inputs(numbers=2))
    if not find_spec("transformers"):
        with pytest.raises(SetupError, match="needs transformers") as caught:
            check(model, str(tmp_path))
        assert "raymle[text]" in caught.value.hint
    with pytest.raises(ValueError, match="nor hf:FOLDER"):
        ModelConfig(type="hf:")


def test_a_spec_without_a_tokenizer_is_refused_before_anything_is_read():
    with pytest.raises(UsageError, match="needs its own tokenizer, and words are hashed"):
        require_tokenizer(ModelConfig(type="hf:it"), None)
    require_tokenizer(ModelConfig(type="hf:it"), "it/tokenizer.json")
    require_tokenizer(ModelConfig(type="lstm"), None)

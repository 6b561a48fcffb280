"""File < profile < key=value, and what each of them means."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from raymle import loader
from raymle.config import Spec, WorkersRange, document
from raymle.errors import UsageError

SIX_LINES = """\
name: churn
data:
  source: churn.csv
  target: churned
model: {type: mlp, params: {hidden: [64]}}
train: {epochs: 3}
"""
EVERYTHING = """\
name: churn
data:
  source: s3://bucket/churn/*.parquet
  target: churned
  task: classification
  key: [customer_id, month]
  group: customer_id
  time: month
  drop: [internal_note]
  types: {plan: category, 2024: number}
  transforms: [features:clip]
split: {method: hash, by: null, fractions: {train: 0.8, validation: 0.1, test: 0.1}, seed: 0}
model: {type: mlp, params: {hidden: [256, 128], dropout: 0.1}}
train:
  epochs: 5
  batch_size: 1024
  optimizer: {type: adamw, learning_rate: 1e-3, weight_decay: 0.01, schedule: none, clip_norm: 1.0}
  loss: auto
  workers: {min: 1, max: 8}
  resources: {cpu: 1, gpu: 0}
  backend: auto
  precision: fp32
  early_stopping: {patience: 3}
  pretrained: {from: null, exclude: [], trainable: []}
  loop: null
  seed: 0
tune:
  trials: 20
  space:
    train.optimizer.learning_rate: {loguniform: [1e-4, 1e-1]}
    model: {choice: [{type: mlp, params: {hidden: {choice: [[64], [256, 128]]}}}, {type: trees}]}
  algorithm: tpe
  scheduler: asha
  budget: {minutes: 30, dollars: 5}
evaluate:
  metric: roc_auc
  positive: "yes"
  metrics: [mymetrics:profit]
  limits: ["latency_p95_ms <= 20", "memory_mb <= 500"]
promote: {model: churn, require: ["roc_auc >= 0.85"], min_fresh_rows: 500}
serve:
  {host: 127.0.0.1, port: 8000, replicas: {min: 1, max: 4}, batch: {max_size: 64, wait_ms: 2},
   auth: null, tls: null, capture: null}
tracking: {uri: null, experiment: churn}
storage: runs
cluster: {address: auto, provider: null, gpu: null, spot: true, max_dollars_per_hour: null, dollars_per_hour: null}
profiles:
  laptop: {train.epochs: 1}
  aws: {storage: "s3://bucket/churn", train.workers: 8, train.resources.gpu: 1}
"""


@pytest.fixture
def six(tmp_path: Path) -> Path:
    file = tmp_path / "raymle.yaml"
    file.write_text(SIX_LINES)
    return file


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    file = tmp_path / "raymle.yaml"
    file.write_text(EVERYTHING)
    return file


def test_every_key_of_the_design_is_accepted(everything: Path) -> None:
    spec = loader.load(everything)
    assert spec.train.optimizer.learning_rate == 0.001
    assert spec.train.workers == WorkersRange(min=1, max=8)
    assert spec.tune is not None
    assert spec.tune.space["train.optimizer.learning_rate"] == {"loguniform": [0.0001, 0.1]}
    assert spec.data.key == ("customer_id", "month")
    assert spec.data.types["2024"] == "number"


def test_relative_places_start_at_the_spec_and_addresses_stay(six: Path, everything: Path) -> None:
    assert loader.load(everything).data.source == "s3://bucket/churn/*.parquet"
    six.write_text(SIX_LINES)
    spec = loader.load(six.parent)
    assert spec.data.source == str(six.parent / "churn.csv")
    assert spec.storage == str(six.parent / "runs")
    assert spec.folder == str(six.parent)


def test_a_profile_beats_the_file_and_the_command_line_beats_both(everything: Path) -> None:
    assert loader.load(everything).train.epochs == 5
    assert loader.load(everything, profile="laptop").train.epochs == 1
    assert loader.load(everything, ["train.epochs=9"], "laptop").train.epochs == 9
    assert loader.load(everything, profile="aws").storage == "s3://bucket/churn"


def test_a_mapping_replaces_so_no_parameter_of_another_model_stays(six: Path) -> None:
    spec = loader.load(six, ["model={type: trees}"])
    assert (spec.model.type, spec.model.params) == ("trees", {})


def test_an_override_reaches_into_what_is_absent_or_null(six: Path) -> None:
    spec = loader.load(
        six, ["train.early_stopping=null", "tune.trials=2", "train.workers.min=1", "train.workers.max=2"]
    )
    assert spec.train.early_stopping is None
    assert spec.tune is not None
    assert spec.tune.trials == 2
    assert spec.train.workers == WorkersRange(min=1, max=2)


def test_ranges_go_to_the_search_space(six: Path) -> None:
    spec = loader.load(
        six,
        ["train.optimizer.learning_rate=loguniform:1e-4:1e-1", "model.params.activation=choice:relu,sigmoid"],
    )
    assert spec.tune is not None
    assert spec.tune.space == {
        "train.optimizer.learning_rate": {"loguniform": [0.0001, 0.1]},
        "model.params.activation": {"choice": ["relu", "sigmoid"]},
    }
    assert (
        loader.load(six, ["tune.space.train.seed=choice:1,2"]).tune
        == loader.load(six, ["tune.space.train.seed={choice: [1, 2]}"]).tune
    )


def test_ranges_are_told_from_values() -> None:
    lines = [
        "train.epochs=3",
        "model.params.hidden=choice:[64],[256, 128]",
        "data.source=s3://int/x",
        "name=int",
    ]
    assert loader.ranges(lines) == {"model.params.hidden": {"choice": [[64], [256, 128]]}}
    assert loader.ranges(["train.seed=int:1:8"]) == {"train.seed": {"int": [1, 8]}}


def test_a_range_needs_its_numbers() -> None:
    with pytest.raises(UsageError, match="is not a range"):
        loader.ranges(["train.seed=uniform:0.1"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("1E5", 1e5), ("-.5", -0.5), ("2.", 2.0), ("7", 7), ("-3", -3), ("true", True),
        ("null", None), ("~", None), ("", None), ("yes", "yes"), ("no", "no"), ("on", "on"),
        ("2026-01-31", "2026-01-31"), ("1:30", "1:30"), ("007", 7), ("1_000", "1_000"), ("[a, 1]", ["a", 1]),
        ("{a: {b: 1}}", {"a": {"b": 1}}), ('"5"', "5"), (".inf", float("inf")),
    ],
)  # fmt: skip
def test_a_scalar_means_what_it_looks_like(text: str, value: object) -> None:
    assert document.value(text) == value


letters = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])  # JSON escapes the rest in pairs
words, names = (
    st.text(letters),
    st.text(letters, max_size=150),
)  # a key of YAML has at most 1,024 characters, an escape 6
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=10,
)


@given(plain)
def test_what_json_writes_is_read_back_as_it_was(value: object) -> None:
    assert document.value(json.dumps(value)) == value


@given(st.text(max_size=200))
def test_any_text_is_a_document_or_a_spec_error(text: str) -> None:
    try:
        document.read(text, "some.yaml")
    except loader.SpecError as error:
        assert str(error)  # noqa: PT017


def test_a_spec_survives_its_own_json(everything: Path) -> None:
    spec = loader.load(everything)
    assert Spec.model_validate_json(spec.model_dump_json()) == spec


def test_override_varies_a_spec_and_keeps_its_places(six: Path) -> None:
    spec = loader.load(six)
    varied = loader.override(spec, {"train.epochs": 8, "model": {"type": "trees"}})
    assert varied.train.epochs == 8
    assert varied.model.params == {}
    assert (varied.data, varied.storage, varied.folder) == (spec.data, spec.storage, spec.folder)
    assert loader.override(spec, {}) == spec


def test_plain_values_from_python_are_the_same_spec(six: Path) -> None:
    values = yaml.safe_load(SIX_LINES)
    assert loader.from_mapping(values, six.parent) == loader.load(six)
    assert loader.from_mapping({**values, "storage": Path("elsewhere")}, "/somewhere").storage == "/somewhere/elsewhere"


def test_an_empty_environment_variable_is_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYMLE_TEST_VARIABLE", "")
    assert loader.environment("RAYMLE_TEST_VARIABLE") is None
    monkeypatch.setenv("RAYMLE_TEST_VARIABLE", "x")
    assert loader.environment("RAYMLE_TEST_VARIABLE") == "x"


def test_an_editor_accepts_every_good_spec_and_marks_a_misspelt_key() -> None:
    schema = loader.json_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    checker = jsonschema.Draft7Validator(schema)
    good = document.read(EVERYTHING, "x").values
    assert not list(checker.iter_errors(good))
    assert not list(checker.iter_errors({**good, "data": {"source": "a", "target": "b", "key": "id", "drop": None}}))
    assert list(checker.iter_errors({**good, "trian": {}}))
    assert list(checker.iter_errors({**good, "train": {"epochs": "five"}}))
    assert "$defs" not in json.dumps(schema)


def test_every_setting_has_a_description_for_the_editor() -> None:
    schema = loader.json_schema()
    sections = [schema, *schema["definitions"].values()]
    missing = [
        f"{section['title']}.{name}"
        for section in sections
        for name, setting in section["properties"].items()
        if not {"description", "$ref"} & setting.keys()  # a section is described where it is defined
    ]
    assert missing == []


def test_a_task_has_defaults_of_its_own_that_a_spec_overrules():
    odd = {"name": "odd", "data": {"source": "a.csv", "target": "odd", "task": "anomaly"}}
    found = loader.from_mapping(odd, Path())
    assert (found.model.type, found.split.method) == ("autoencoder", "stratified")
    other = loader.from_mapping(odd | {"model": {"type": "isolation_forest"}, "split": {"method": "hash"}}, Path())
    assert (other.model.type, other.split.method) == ("isolation_forest", "hash")
    named = loader.from_mapping(odd | {"model": {"params": {"hidden": [8]}}}, Path())
    assert named.model.type == "autoencoder"

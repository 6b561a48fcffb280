"""How long and how fast is trained where the spec leaves it to rows and model."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymle import loader
from raymle.config import ModelConfig, Spec, TrainConfig
from raymle.config.amount import as_begun, left_open, settled, settled_spec
from raymle.errors import SpecError

MLP = ModelConfig()


@pytest.mark.parametrize(
    ("rows", "batch", "epochs"),
    [(1, 32, 50), (100, 32, 50), (3_000, 32, 16), (16_532, 128, 12), (102_400, 1024, 15), (10_000_000, 1024, 5)],
)
def test_small_tables_take_many_small_steps_and_large_ones_few_large_ones(rows, batch, epochs):
    found = settled(TrainConfig(), MLP, rows)
    assert (found.batch_size, found.epochs) == (batch, epochs)


@given(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(1, 100))
def test_what_is_given_stays_and_what_is_settled_stays_settled(rows, batch, epochs):
    found = settled(TrainConfig(batch_size=batch, epochs=epochs), MLP, rows)
    assert (found.batch_size, found.epochs) == (batch, epochs)
    found = settled(TrainConfig(batch_size=batch), MLP, rows)
    assert found.batch_size == batch
    assert 5 <= found.epochs <= 50
    assert settled(found, MLP, 10 * rows) == found
    assert left_open(found) == ()


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_more_rows_never_take_fewer_rows_a_step_nor_fewer_steps(one, other):
    fewer, more = (settled(TrainConfig(), MLP, rows) for rows in sorted((one, other)))
    assert fewer.batch_size <= more.batch_size
    assert more.epochs * ceil(max(one, other) / more.batch_size) >= 0.5 * fewer.epochs * ceil(
        min(one, other) / fewer.batch_size
    )


@pytest.mark.parametrize(
    ("model", "train", "rate", "patience"),
    [
        ("mlp", {}, 1e-3, 5), ("linear", {}, 1e-2, 5), ("linear", {"optimizer": {"learning_rate": 0.5}}, 0.5, 5),
        ("mine:make", {"epochs": 7}, 1e-3, 3), ("cnn", {"epochs": 61}, 1e-3, 7), ("trees", {"epochs": 61}, 1e-3, 3),
        ("mlp", {"early_stopping": None}, 1e-3, None), ("mlp", {"early_stopping": {"patience": 2}}, 1e-3, 2),
        ("hf:bert", {}, 5e-5, 5), ("hf:bert", {"pretrained": {"trainable": ["layers.*"]}}, 1e-3, 5),
        ("hf:bert", {"pretrained": {"trainable": ["*"]}}, 5e-5, 5),
        ("hf:bert", {"pretrained": {"trainable": ["layers.*", "texts.*"]}}, 5e-5, 5),
    ],
)  # fmt: skip
def test_rate_and_patience_follow_the_model_and_the_epochs(model, train, rate, patience):
    found = settled(TrainConfig.model_validate(train), ModelConfig(type=model), 100)
    assert found.optimizer.learning_rate == rate
    assert found.optimizer.schedule == ("cosine" if model == "linear" and "optimizer" not in train else "none")
    assert (found.early_stopping and found.early_stopping.patience) == patience


def test_auto_can_be_written_read_and_overridden(tmp_path):
    given = {"epochs": "auto", "batch_size": 64, "early_stopping": None}
    given |= {"optimizer": {"learning_rate": 3e-3, "schedule": "none"}}
    spec = loader.from_mapping({"name": "x", "data": {"source": "x.csv", "target": "y"}, "train": given}, tmp_path)
    assert left_open(spec.train) == ("train.epochs",)
    assert spec.train.model_dump(mode="json")["epochs"] == "auto"
    assert loader.override(spec, {"train.epochs": 3}).train.epochs == 3
    again = {"train.batch_size": "auto", "train.optimizer": {}, "train.early_stopping": {}}
    assert left_open(loader.override(spec, again).train) == left_open(TrainConfig())


def test_what_a_run_began_with_stays(tmp_path):
    spec = Spec(name="x", folder=str(tmp_path), data={"source": "x.csv", "target": "y"})
    begun = settled_spec(spec, 100)
    assert as_begun(spec, begun) == begun
    assert left_open(TrainConfig(), begun.train) == left_open(TrainConfig())


def test_what_a_run_began_without_is_no_number_that_may_differ():
    missing = {*left_open(TrainConfig())} - {*left_open(TrainConfig(), TrainConfig(early_stopping=None))}
    assert missing == {"train.early_stopping.patience"}


@pytest.mark.parametrize(
    ("path", "wrong", "said"),
    [
        ("epochs", 0, "greater than or equal to 1"), ("epochs", -1, "greater"), ("epochs", 2.5, "whole number"),
        ("epochs", "many", "is 'many', not a whole number or auto"), ("epochs", None, "not a whole number"),
        ("optimizer.learning_rate", "fast", "is 'fast', not a number or auto"),
        ("optimizer.learning_rate", 0, "greater than 0"), ("optimizer.learning_rate", "inf", "number or auto"),
        ("early_stopping.patience", 0, "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_neither_a_number_nor_auto_is_refused(tmp_path, path, wrong, said):
    spec = loader.from_mapping({"name": "x", "data": {"source": "x.csv", "target": "y"}}, tmp_path)
    with pytest.raises(SpecError, match=rf"train\.{path}.*{said}"):
        loader.override(spec, {f"train.{path}": wrong})

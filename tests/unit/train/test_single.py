"""One training as a stack of one."""

import pytest
import torch
from helpers import drain
from safetensors.torch import load_file
from small_table import splits as splits

from raymle import train
from raymle.config import ModelConfig, TrainConfig


def config(rate, seed):
    values = {"epochs": 4, "batch_size": 128, "early_stopping": None, "seed": seed}
    return TrainConfig.model_validate(values | {"optimizer": {"learning_rate": rate}})


def test_a_member_of_a_stack_is_made_again_bit_for_bit(splits, tmp_path):
    model = ModelConfig(type="mlp", params={"hidden": [16], "dropout": 0.0})
    members = [
        train.Member(config(rate, seed), model, tmp_path / f"{seed}") for seed, rate in enumerate((1e-3, 3e-2, 0.1))
    ]
    for _ in train.fit_stack(members, splits, metric="roc_auc", folder="."):
        pass
    for member in members:
        out = tmp_path / "again" / member.out.name
        reports, fitted = drain(train.fit_single(member.train, model, splits, metric="roc_auc", folder=".", out=out))
        assert [report.epoch for report in reports] == [1, 2, 3, 4]
        assert fitted.stacked
        then, now = (load_file(folder / "weights.safetensors") for folder in (member.out, out))
        assert all(torch.equal(then[name], now[name]) for name in then)


def test_it_stops_after_the_epoch_that_it_is_told_to(splits, tmp_path):
    model = ModelConfig(type="linear")
    epochs = train.fit_single(config(1e-2, 0), model, splits, metric="roc_auc", folder=".", out=tmp_path / "b")
    assert [next(epochs).epoch, next(epochs).epoch] == [1, 2]
    with pytest.raises(StopIteration) as end:
        epochs.send(True)
    assert end.value.value.epochs == 2

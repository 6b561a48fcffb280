"""What moves the weights: parts of a batch, averages, weighed losses, schedules, and what the gradients tell."""

import itertools

import numpy as np
import pytest
import torch
from helpers import train_config
from sklearn.utils.class_weight import compute_class_weight
from small_net import Net
from torch import nn
from torch.nn import functional

from raymle import train as training
from raymle.config import ModelConfig, TrainConfig
from raymle.config.train import OptimizerConfig
from raymle.data.shards import Arrays
from raymle.errors import SpecError, UsageError
from raymle.records import Column, Schema
from raymle.train import loop, objective, order
from raymle.train.backends.inline import World
from raymle.train.best import Best
from raymle.train.keeper import Keeper
from raymle.train.learner import Learner, unwell
from raymle.train.objective import Objective
from raymle.train.optimizer import Stepper, factor
from raymle.train.proof import out_of_step

CLASSES = Objective("classification", "roc_auc", outputs=2, positive=1)
ROWS = 96


def rows():
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=(ROWS, 3)).astype(np.float32)
    target = (numbers[:, 0] > 0).astype(np.int64)
    return Arrays(numbers, np.zeros((ROWS, 0), np.int32), target, np.arange(ROWS))


def learner(module=None, objective=CLASSES, **values):
    config = train_config(**{"epochs": 2, "batch_size": 32, **values})
    return Learner(module or Net(), config, objective, World(), rows=3 * config.batch_size)


def learn(made, epochs=2):
    for epoch in range(1, epochs + 1):
        learned = made.fresh()
        loop.pass_over(made, rows(), Best(epochs=epoch - 1), learned, Keeper())
    return learned, torch.cat([weight.detach().flatten() for weight in made.bare.parameters()])


@pytest.mark.parametrize("parts", [2, 3, 50])
def test_a_batch_in_parts_is_the_same_step(parts):
    whole, weights = learn(learner())
    split, other = learn(learner(accumulate=parts))
    torch.testing.assert_close(other, weights, atol=1e-6, rtol=0)
    torch.testing.assert_close(split.losses, whole.losses)


def test_the_average_follows_the_weights_and_is_what_is_kept():
    made, expected, decay = learner(ema=0.9), None, 0.9
    for part in order.shuffled(rows().order, 0, 1, steps=3):
        made.step(rows(), part, made.fresh())
        now = made.bare.layers[0].weight.detach().clone()
        expected = now if expected is None else expected * decay + now * (1 - decay)
    torch.testing.assert_close(made.judged.layers[0].weight.detach(), expected)
    assert made.judged is not made.bare


def test_smoothed_labels_and_class_weights_are_torchs():
    outputs, targets = torch.randn(20, 3), torch.arange(20) % 3
    made = Objective("classification", "accuracy", outputs=3, smoothing=0.1, weights=(1.0, 2.0, 3.0))
    wanted = functional.cross_entropy(
        outputs, targets, weight=torch.tensor([1.0, 2.0, 3.0]), label_smoothing=0.1, reduction="sum"
    )
    torch.testing.assert_close(made.learning(torch.device("cpu"))(outputs, targets), wanted)
    plain = functional.cross_entropy(outputs, targets, reduction="sum")
    torch.testing.assert_close(made.judging()(outputs, targets), plain)


def schema(*classes):
    columns = (Column(name="x", type="number", role="feature"), Column(name="y", type="category", role="target"))
    return Schema(columns=columns, target="y", task="classification" if classes else "regression", classes=classes)


def of(made, counts=(10, 20, 70), **values):
    config = TrainConfig.model_validate(values)
    return objective.of(made, "accuracy", config, mean=0, std=1, counts=np.array(counts), folder=".")


def test_balanced_weights_are_those_of_scikit_learn():
    target = np.repeat([0, 1, 2], [10, 20, 70])
    found = of(schema("a", "b", "c"), class_weights="balanced").weights
    assert found == pytest.approx(compute_class_weight("balanced", classes=np.unique(target), y=target))


def test_named_weights_stand_in_the_schemas_order():
    assert of(schema("a", "b", "c"), class_weights={"c": 5.0}).weights == (1.0, 1.0, 5.0)


@pytest.mark.parametrize(
    ("classes", "values", "says"),
    [
        (("a", "b"), {"class_weights": {"d": 2.0}}, "'d' is not a class of 'y'"),
        ((), {"class_weights": "balanced"}, "are for classes"),
        ((), {"loss": "cross_entropy"}, "is not a loss for regression"),
        (("a", "b"), {"loss": "huber"}, "is not a loss for classification"),
    ],
)
def test_what_does_not_go_together_is_refused(classes, values, says):
    with pytest.raises(SpecError, match=says):
        of(schema(*classes), **values)


def test_a_users_loss_gives_one_value_for_each_row(tmp_path):
    (tmp_path / "own_loss.py").write_text(
        "from torch.nn import functional\n"
        "def focal(outputs, targets):\n"
        "    plain = functional.cross_entropy(outputs, targets, reduction='none')\n"
        "    return (1 - (-plain).exp()) ** 2 * plain\n"
        "def mean(outputs, targets):\n"
        "    return functional.cross_entropy(outputs, targets)\n"
    )
    outputs, targets = torch.randn(9, 2), torch.arange(9) % 2
    plain = functional.cross_entropy(outputs, targets, reduction="none")
    made = Objective("classification", "accuracy", "own_loss:focal", 2, folder=str(tmp_path))
    torch.testing.assert_close(made.judging()(outputs, targets), ((1 - (-plain).exp()) ** 2 * plain).sum())
    wrong = Objective("classification", "accuracy", "own_loss:mean", 2, folder=str(tmp_path))
    with pytest.raises(SpecError, match="not one loss for each"):
        wrong.judging()(outputs, targets)


@pytest.mark.parametrize("name", ["huberr", "mse"])
def test_a_loss_that_is_none_is_named_before_any_data_is_read(name):
    with pytest.raises(SpecError, match=f"train.loss '{name}' is not a loss"):
        training.check(TrainConfig(loss=name), ModelConfig())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"ema": 0.9}, "train.ema is for networks"),
        ({"workers": 2, "backend": "horovod"}, "train.backend horovod is for networks"),
        ({"workers": {"min": 1, "max": 2}}, "train.workers is a range, and trees"),
    ],
)
def test_trees_refuse_what_is_for_networks(values, says):
    with pytest.raises(UsageError, match=says):
        training.check(TrainConfig.model_validate(values), ModelConfig(type="trees"))


def test_trees_take_several_workers():
    training.check(TrainConfig(workers=2), ModelConfig(type="trees"))


def test_one_cycle_is_torchs():
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    peer = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=100, cycle_momentum=False)
    rates = []
    for step in range(100):
        rates.append(peer.get_last_lr()[0])
        optimizer.step()
        if step < 99:
            peer.step()
    assert [factor("one_cycle", step, 100) for step in range(100)] == pytest.approx(rates)


def test_a_rise_comes_before_any_schedule():
    found = [factor("cosine", step, 100, warmup=0.1) for step in range(100)]
    assert found[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert found[10] == 1.0
    assert found[-1] < 0.001
    assert all(later <= earlier for earlier, later in itertools.pairwise(found[10:]))


def test_a_plateau_lowers_the_rate_by_ten_after_two_epochs_without_a_better_one():
    stepper = Stepper([nn.Parameter(torch.zeros(1))], OptimizerConfig(learning_rate=1.0, schedule="plateau"), steps=9)
    rates = []
    for rank in (1, 2, 2, 1, 3, 3, 3):
        stepper.hear(rank)
        stepper.parameters[0].grad = torch.ones(1)
        stepper.step()
        rates.append(stepper.rate)
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd", "rmsprop"])
def test_a_stepper_goes_on_where_another_stopped(kind):
    config = {"optimizer": {"type": kind, "schedule": "cosine", "warmup": 0.2}, "ema": 0.9}
    whole = learner(**config)
    learn(whole, epochs=1)
    tensors, facts = whole.state()
    again = learner(**config)
    again.restore({name: value.clone() for name, value in tensors.items()}, facts, where="epoch 1")
    one, other = (learn(made, epochs=1)[1] for made in (whole, again))
    assert torch.equal(one, other)
    assert torch.equal(whole.judged.layers[2].bias, again.judged.layers[2].bias)


def test_gradients_that_vanish_or_explode_are_named_by_their_layer():
    assert unwell({"a": 1.0, "b": 0.5}) == []
    assert unwell({"a": 1.0, "deep.weight": 1e-9}) == [
        "the gradients of deep.weight vanish: below 1e-07 of the largest"
    ]
    keys = {"keys.weight": 0.5, "keys.bias": 1e-9}  # attention takes no notice of a bias of its keys
    assert unwell({"a": 1.0, **keys}) == []
    assert "explode: a has a norm of 5e+04" in unwell({"a": 5e4, "b": 1.0})[0]


def test_each_layers_norm_is_reported():
    reports = loop.epochs(
        Net(), rows(), rows(), train_config(epochs=1, batch_size=32), objective=CLASSES, world=World()
    )
    metrics = next(reports).metrics
    assert {name for name in metrics if "/" in name} == {
        f"grad_norm/layers.{place}.{part}" for place in (0, 2) for part in ("weight", "bias")
    }


class Apart:
    """A group of which one worker has other digests."""

    size = 3

    def gather(self, digests):
        every = np.repeat(digests, 3, axis=0)
        every[2, 3] += 1
        return every


def test_a_worker_that_is_out_of_step_is_named_with_its_layer():
    assert out_of_step(Net(), Apart()) == "worker 2 of 3 is out of step with worker 0 in layers.2.bias"

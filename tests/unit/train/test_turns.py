"""Layers that are trained later, slower or never, and what stays in step."""

import threading

import numpy as np
import pytest
import torch
from helpers import drain, train_config
from hypothesis import given, settings
from hypothesis import strategies as st
from test_goes_on import CLASSES, EPOCHS, STEPS, Net, eager, rows
from test_several_workers import Pair, arrays, config, member

from raymle.ancestry import Layer
from raymle.config import ModelConfig, TrainConfig
from raymle.errors import SpecError, UsageError
from raymle.train import check, loop
from raymle.train.backends.inline import World
from raymle.train.keeper import Keeper
from raymle.train.learner import Learner

BODY, NORM, HEAD = "layers.0", "layers.1", "layers.3"
"""Of a net with batch normalisation and dropout."""


def layers(module, since, rates=None):
    rates = rates or {}
    made = []
    for name, weight in module.named_parameters():
        scope = name.rpartition(".")[0]
        weight.requires_grad_(since[scope] == 1)
        made.append(
            Layer(name=name, shape=tuple(weight.shape), origin="loaded", since=since[scope], rate=rates.get(scope, 1.0))
        )
    return tuple(made)


def state(module, *scopes):
    found = module.state_dict().items()
    return {name: value.clone() for name, value in found if name.rpartition(".")[0] in scopes}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def epochs(module, turns, storage=None, **values):
    made = train_config(**{"epochs": EPOCHS, "batch_size": 32, "early_stopping": None, **values})
    kept = Keeper(str(storage), "run") if storage else None
    return loop.epochs(module, rows(), rows(61), made, objective=CLASSES, world=World(), keeper=kept, layers=turns)


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": {"weight_decay": 0.5}},
        {"optimizer": {"type": "sgd", "weight_decay": 0.5}, "accumulate": 2},
        {"ema": 0.3},
        {"ema": 0.9, "precision": "bf16"},
    ],
)
def test_a_frozen_layer_stays_bit_for_bit_with_its_running_means(values):
    module = Net()
    turns = layers(module, {BODY: 0, NORM: 0, HEAD: 1})
    before, head = state(module, BODY, NORM), state(module, HEAD)
    reports, best = drain(epochs(module, turns, **values))
    assert same(before, state(module, BODY, NORM))
    assert all(torch.equal(values, best.weights[name]) for name, values in before.items())
    assert not same(head, state(module, HEAD))
    assert not any(BODY in name for name in reports[0].metrics), "a frozen layer has no gradient to report"
    assert best.warnings == (), "a frozen layer's gradients do not vanish"


def test_layers_are_unfrozen_in_their_epoch_and_not_before():
    module = Net()
    turns = layers(module, {BODY: 3, NORM: 3, HEAD: 1})
    body, running = state(module, BODY), epochs(module, turns)
    for epoch in range(1, 5):
        report = next(running)
        assert same(body, state(module, BODY)) == (epoch < 3)
        assert (f"grad_norm/{BODY}.weight" in report.metrics) == (epoch >= 3)


def test_a_layers_share_of_the_rate_is_the_share_of_its_step():
    module, whole = Net(), Net()
    turns = layers(module, dict.fromkeys([BODY, NORM, HEAD], 1), {BODY: 0.25, NORM: 0.25})
    config = train_config(batch_size=128, optimizer={"type": "sgd", "weight_decay": 0, "clip_norm": None})
    steps = {}
    for net, given_turns in ((module, turns), (whole, ())):
        made, before = Learner(net, config, CLASSES, World(), rows=128, layers=given_turns), state(net, BODY, HEAD)
        made.begin(1)
        net.layers[2].eval()
        made.step(rows(), np.arange(128), made.fresh())
        steps[net] = {name: value - before[name] for name, value in state(net, BODY, HEAD).items()}
    for name, step in steps[module].items():
        share = 0.25 if name.startswith(BODY) else 1.0
        torch.testing.assert_close(step, share * steps[whole][name], rtol=1e-3, atol=1e-7)


@settings(max_examples=10, deadline=None)
@given(crash_at=st.integers(1, STEPS * EPOCHS))
def test_a_training_with_frozen_layers_goes_on_at_the_same_bits(tmp_path_factory, crash_at):
    storage, since = tmp_path_factory.mktemp("runs"), {BODY: 3, NORM: 0, HEAD: 1}
    net = Net()
    expected, whole = drain(epochs(net, layers(net, since), ema=0.9))
    with pytest.MonkeyPatch.context() as patch:
        eager(patch)
        broken, again = Net(crash_at), Net()
        with pytest.raises(KeyboardInterrupt):
            drain(epochs(broken, layers(broken, since), storage, ema=0.9))
        reports, gone_on = drain(epochs(again, layers(again, since), storage, ema=0.9))
    assert [report.metrics["validation_loss"] for report in reports] == [
        report.metrics["validation_loss"] for report in expected
    ]
    assert same(whole.weights, gone_on.weights)


def test_two_workers_unfreeze_together():
    from small_net import Net as Plain

    since = {"layers.0": 2, "layers.2": 1}
    alone = Plain()
    drain(loop.epochs(
        alone, arrays(500), arrays(200, 1), config(), objective=CLASSES, world=World(), layers=layers(alone, since)
    ))  # fmt: skip
    pair, nets = Pair(2), [Plain(), Plain()]

    def work(rank):
        drain(loop.epochs(
            nets[rank], arrays(500), arrays(200, 1), config(), objective=CLASSES, world=member(pair, rank, 2),
            layers=layers(nets[rank], since),
        ))  # fmt: skip

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert same(nets[0].state_dict(), nets[1].state_dict())
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(nets[0].state_dict()[name], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("values", "kind", "error", "words"),
    [
        ({"pretrained": {"from": "last"}}, "trees", UsageError, "train.pretrained is for networks"),
        ({"pretrained": {"trainable": ["layers.4"]}}, "mlp", SpecError, "trainable is set, but nothing is loaded"),
        ({"pretrained": {"layer_decay": 0.9}}, "mlp", SpecError, "layer_decay is set, but nothing is loaded"),
        ({"pretrained": {"from": "last", "unfreeze": 1}, "loop": "a:b"}, "mlp", UsageError, "train.loop is yours"),
    ],
)
def test_what_does_not_go_together_is_refused(values, kind, error, words):
    with pytest.raises(error, match=words):
        check(TrainConfig.model_validate(values), ModelConfig(type=kind))

"""Trainings of one stack are the trainings that each would be alone."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from helpers import drain
from small_table import splits as splits
from torch import nn

from raymle import model, train
from raymle.config import DataConfig, ModelConfig, SplitConfig, TrainConfig
from raymle.data import prepare, shards
from raymle.errors import SpecError, UsageError, WorkError
from raymle.measure import metrics
from raymle.model.build import build
from raymle.store import open_store
from raymle.train import order
from raymle.train.bundler import Bundler
from raymle.train.optimizer import factor
from raymle.train.stack import Stack
from raymle.train.stacked_epoch import Course, pass_over, rates

MLP = ModelConfig(params={"hidden": [12, 8], "dropout": 0.0})
LINEAR = ModelConfig(type="linear")
RATES = (0.02, 0.003, 0.05, 0.01)
PEERS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": lambda *given, **values: torch.optim.SGD(*given, momentum=0.9, **values),
    "rmsprop": torch.optim.RMSprop,
}


def configs(seeds=(0, 0, 0, 0), epochs=(3, 3, 3, 3), optimizer=None, **values):
    """Return trainings that differ in numbers."""
    return [
        TrainConfig.model_validate({
            "batch_size": 128, "early_stopping": None, "seed": seed, "epochs": most,
            "optimizer": {"learning_rate": rate, "weight_decay": 0.1 * place} | (optimizer or {}), **values,
        })
        for place, (seed, most, rate) in enumerate(zip(seeds, epochs, RATES, strict=False))
    ]  # fmt: skip


def at_rate(config, rate):
    return config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"learning_rate": rate})})


def members(trains, folder, kind=MLP):
    return [train.Member(each, kind, folder / f"stack-{place}" / "bundle") for place, each in enumerate(trains)]


def metric_of(prepared):
    schema = prepared.data_schema
    return metrics.primary(schema.task, len(schema.classes))


def stacked(given, prepared, stop=None, **values):
    """Train a stack; return everyone's reports and end. ``stop`` has the places to stop after each epoch."""
    reports, ends, told = [[] for _ in given], {}, []
    course = train.fit_stack(given, prepared, metric=metric_of(prepared), folder=".", **values)
    stops = iter(stop or [])
    try:
        told.append(next(course))
        while True:
            told.append(course.send(next(stops, None)))
    except StopIteration:
        pass
    for each in told:
        ends |= each.ends
        for place, report in each.reports.items():
            reports[place].append(report)
    return reports, ends


def alone(member, prepared, out, **values):
    course = train.fit(
        member.train, member.model, prepared, metric=metric_of(prepared), folder=".", out=out / "bundle", **values
    )
    return drain(course)


def assert_alike(reports, peers):
    """The same metrics in the same epochs; how fast it went is its own."""
    assert [report.epoch for report in reports] == [peer.epoch for peer in peers]
    for report, peer in zip(reports, peers, strict=True):
        assert report.step == peer.step
        assert report.metrics.keys() == peer.metrics.keys()
        ours, theirs = (
            {name: value for name, value in each.metrics.items() if name != "rows_per_second"}
            for each in (report, peer)
        )
        assert ours == pytest.approx(theirs, abs=1e-4, rel=1e-4)


def torchs(config, rows, bundler, epochs):
    """Train one network in float64 with torch's own optimizer, clipping and loss."""
    contents, settings = bundler.contents, config.optimizer
    module = build(contents.model, contents.inputs, contents.outputs, seed=config.seed).double()
    optimizer = PEERS[settings.type](module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps, losses, norms = order.steps_of(len(rows.numbers), config), [], []
    for epoch in range(epochs):
        for step, batch in enumerate(order.batches(rows, config, epoch + 1, steps=steps)):
            share = factor(settings.schedule, epoch * steps + step, config.epochs * steps, warmup=settings.warmup)
            optimizer.param_groups[0]["lr"] = settings.learning_rate * share
            numbers = torch.from_numpy(rows.numbers[batch]).double()
            outputs = module(numbers=numbers, categories=torch.from_numpy(rows.codes[batch]).long())
            loss = nn.functional.cross_entropy(outputs, torch.from_numpy(rows.target[batch]))
            optimizer.zero_grad()
            loss.backward()
            limit = settings.clip_norm if settings.clip_norm is not None else float("inf")
            norms.append(float(nn.utils.clip_grad_norm_(module.parameters(), limit)))
            optimizer.step()
            losses.append(loss.item() * len(batch))
    return module.state_dict(), losses, norms


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd", "rmsprop"])
@pytest.mark.parametrize(
    ("schedule", "warmup", "clip_norm"), [("none", 0.0, 0.2), ("cosine", 0.1, 0.5), ("one_cycle", 0.0, None)]
)
@pytest.mark.parametrize("seeds", [(3, 3, 3), (1, 2, 2)])
def test_the_steps_of_a_stack_are_those_of_separate_runs_of_torch(splits, kind, schedule, warmup, clip_norm, seeds):
    settings = {"type": kind, "schedule": schedule, "warmup": warmup, "clip_norm": clip_norm}
    trains = configs(seeds, (2, 2, 4), settings)
    bundler = Bundler.of(trains[0], MLP, splits, metric="roc_auc", folder=".")
    contents, rows = bundler.contents, shards.load(splits, "train")
    modules = [build(MLP, contents.inputs, contents.outputs, seed=each.seed).double() for each in trains]
    courses = [Course(place, each, module) for place, (each, module) in enumerate(zip(trains, modules, strict=True))]
    stack = Stack(modules, [each.optimizer for each in trains], bundler.objective.learning(torch.device("cpu"), "none"))
    steps, learned = order.steps_of(len(rows.numbers), trains[0]), []
    for _ in range(2):
        learned.append(pass_over(stack, courses, rows, bundler.objective, rates(courses, steps)))
        for course in courses:
            course.best.epochs += 1
    for place, config in enumerate(trains):
        weights, losses, norms = torchs(config, rows, bundler, epochs=2)
        for name, weight in stack.weights().items():
            torch.testing.assert_close(weight[place].detach(), weights[name], atol=1e-12, rtol=1e-12)
        mine = [torch.cat([getattr(each[place], name) for each in learned]).tolist() for name in ("losses", "norms")]
        assert mine[0] == pytest.approx(losses, abs=1e-12, rel=1e-12)
        assert mine[1] == pytest.approx(norms, abs=1e-12, rel=1e-12)


@pytest.mark.parametrize(
    ("target", "kind", "values"),
    [
        ("two", MLP, {}),
        ("two", LINEAR, {"optimizer": {"type": "sgd", "clip_norm": None}}),
        (
            "two",
            ModelConfig(params={"hidden": [9], "dropout": 0.0, "normalisation": "layer", "activation": "gelu"}),
            {},
        ),
        ("three", MLP, {"class_weights": "balanced", "label_smoothing": 0.1}),
        ("three", MLP, {"class_weights": {"low": 3.0}, "optimizer": {"type": "rmsprop"}}),
        ("number", MLP, {"optimizer": {"schedule": "plateau"}}),
        ("number", ModelConfig(params={"hidden": [], "dropout": 0.0}), {"loss": "absolute_error"}),
        ("number", MLP, {"loss": "huber", "optimizer": {"type": "adam", "schedule": "warmup"}}),
        ("number", MLP, {"shuffle_gib": 1e-5}),
    ],
)
def test_each_training_of_a_stack_is_what_it_is_alone(prepared, tmp_path, table, target, kind, values):
    prepared = prepared(target)
    given = members(configs((0, 5, 5), (6, 4, 5), batch_size=64, **values), tmp_path, kind)
    reports, ends = stacked(given, prepared)
    for place, member in enumerate(given):
        peers, peer = alone(member, prepared, tmp_path / f"alone-{place}")
        assert_alike(reports[place], peers)
        end = ends[place]
        assert end.epochs == member.train.epochs
        assert (end.best_epoch, end.parameters, end.threads) == (peer.best_epoch, peer.parameters, peer.threads)
        ours, theirs = (model.load(each.bundle) for each in (end, peer))
        assert ours.path == member.out
        assert ours.contents.model_copy(update={"metrics": {}}) == theirs.contents.model_copy(update={"metrics": {}})
        assert ours.contents.metrics == end.metrics
        np.testing.assert_allclose(ours.predict(table(target=target)), theirs.predict(table(target=target)), rtol=1e-3)


def test_a_training_ends_with_its_own_patience(prepared, tmp_path):
    prepared = prepared("number")
    trains = configs(epochs=(12, 12, 12), optimizer={"type": "sgd", "clip_norm": None}, early_stopping={"patience": 1})
    trains = [at_rate(each, rate) for each, rate in zip(trains, (1e-3, 0.3, 0.05), strict=True)]
    given = members(trains, tmp_path)
    reports, ends = stacked(given, prepared)
    lengths = []
    for place, member in enumerate(given):
        peers, peer = alone(member, prepared, tmp_path / f"alone-{place}")
        assert_alike(reports[place], peers)
        assert (ends[place].epochs, ends[place].best_epoch) == (peer.epochs, peer.best_epoch)
        lengths.append(peer.epochs)
    assert len(set(lengths)) > 1  # else nothing was seen


def test_each_has_a_plateau_of_its_own(prepared, tmp_path):
    prepared = prepared("number")
    calm, wild = configs(epochs=(10, 10), optimizer={"type": "rmsprop", "schedule": "plateau"})
    given = members([at_rate(calm, 1e-5), at_rate(wild, 0.05)], tmp_path)  # the first gets better with every epoch
    reports, _ = stacked(given, prepared)
    falls = [each[0].metrics["learning_rate"] > each[-1].metrics["learning_rate"] for each in reports]
    assert falls == [False, True]
    for place, member in enumerate(given):
        peers, _ = alone(member, prepared, tmp_path / f"alone-{place}")
        assert [report.metrics["learning_rate"] for report in reports[place]] == [
            peer.metrics["learning_rate"] for peer in peers
        ]


def test_who_is_stopped_keeps_its_best_weights_and_the_others_go_on(splits, tmp_path):
    given = members(configs(epochs=(5, 5, 5, 5)), tmp_path)
    whole, _ = stacked(given, splits)
    again = [replace(each, out=tmp_path / f"again-{place}" / "bundle") for place, each in enumerate(given)]
    course = train.fit_stack(again, splits, metric="roc_auc", folder=".")
    first = next(course)
    assert (set(first.reports), first.ends) == ({0, 1, 2, 3}, {})
    second = course.send([1, 3])
    assert set(second.reports) == {0, 2}
    assert {place: end.epochs for place, end in second.ends.items()} == {1: 1, 3: 1}
    assert model.load(second.ends[3].bundle).contents.metrics == first.reports[3].metrics
    third = course.send([1, 0])  # 1 is over already
    assert (set(third.reports), set(third.ends)) == ({2}, {0})
    assert_alike([first.reports[2], second.reports[2], third.reports[2]], whole[2][:3])
    last = course.send([2])
    assert (last.reports, set(last.ends)) == ({}, {2})
    assert last.ends[2].epochs == 3
    with pytest.raises(StopIteration):
        next(course)


def test_one_that_diverges_says_what_it_says_alone_and_the_others_do_not_feel_it(prepared, tmp_path):
    prepared = prepared("number")
    trains = configs(epochs=(9, 9, 9), optimizer={"type": "sgd", "clip_norm": None}, batch_size=64)
    wild = [at_rate(trains[0], rate) for rate in (1e3, 3.0, 8.0)]
    given = members([trains[0], *wild, trains[2]], tmp_path, LINEAR)
    reports, ends = stacked(given, prepared)
    calm, _ = stacked(members([trains[0], trains[2]], tmp_path / "calm", LINEAR), prepared)
    for place, peers in ((0, calm[0]), (4, calm[1])):
        assert_alike(reports[place], peers)
        assert ends[place].epochs == 9
    assert "the loss is not finite at step" in ends[2]
    assert "the validation loss is not finite after step" in ends[3]
    kept = []
    for place in (1, 2, 3):
        with pytest.raises(WorkError) as caught:
            alone(given[place], prepared, tmp_path / f"alone-{place}")
        assert ends[place] == str(caught.value).replace("alone-", "stack-")
        assert not given[place].out.exists()
        kept.append(given[place].out.with_name("last-good").exists())
    assert kept == [False, True, True]


def test_one_whose_bundle_cannot_be_saved_says_so_and_the_others_go_on(splits, tmp_path):
    given = members(configs(epochs=(1, 2)), tmp_path)
    given[0].out.mkdir(parents=True)
    (given[0].out / "old").write_text("somebody's")
    _, ends = stacked(given, splits)
    assert "is there already" in ends[0]
    assert ends[1].epochs == 2


def test_a_members_seconds_are_its_share(splits, tmp_path):
    _, ends = stacked(members(configs(epochs=(2, 4, 4)), tmp_path), splits)
    assert ends[0].seconds > 0
    assert ends[0].seconds < ends[1].seconds


def test_the_users_code_travels_in_every_bundle(splits, tmp_path):
    (tmp_path / "mine.py").write_text("def same(batch):\n    return batch\n")
    course = train.fit_stack(
        members(configs(epochs=(1, 1)), tmp_path), splits, metric="roc_auc", folder=str(tmp_path), transforms=["mine:same"]
    )  # fmt: skip
    for end in next(course).ends.values():
        assert model.load(end.bundle).contents.transforms == ("mine:same",)
        assert (model.load(end.bundle).path / "code" / "mine.py").exists()


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [
        ({}, MLP, ""),
        ({"epochs": 9, "seed": 4, "class_weights": "balanced"}, LINEAR, ""),
        ({}, ModelConfig(), "dropout"),
        ({}, ModelConfig(params={"dropout": 0, "normalisation": "batch"}), "normalisation is batch"),
        ({}, ModelConfig(type="trees"), "model.type is trees"),
        ({}, ModelConfig(type="mine:make"), "model.type is mine:make"),
        ({"workers": 2}, MLP, "workers"),
        ({"workers": {"min": 1, "max": 2}}, MLP, "workers"),
        ({"resources": {"gpu": 1}}, MLP, "gpu"),
        ({"loop": "mine:loop"}, MLP, "loop"),
        ({"loss": "mine:loss"}, MLP, "loss"),
        ({"precision": "bf16"}, MLP, "precision"),
        ({"accumulate": 2}, MLP, "accumulate"),
        ({"ema": 0.9}, MLP, "ema"),
        ({"pretrained": {"from": "last"}}, MLP, "pretrained"),
    ],
)
def test_what_cannot_be_in_a_stack_says_why(values, kind, says):
    reason = train.why_not(TrainConfig.model_validate(values), kind)
    assert says in reason
    assert bool(says) == bool(reason)


def test_a_wrong_parameter_is_no_reason_but_an_error():
    with pytest.raises(SpecError, match="hiden"):
        train.why_not(TrainConfig(), ModelConfig(params={"hiden": [3]}))


def test_trainings_that_differ_in_numbers_have_one_shape():
    first, other = configs((0, 7), (3, 9), early_stopping={"patience": 2})
    assert train.shape_of(first, MLP) == train.shape_of(other.model_copy(update={"early_stopping": None}), MLP)
    turned = ModelConfig(params=dict(reversed(MLP.params.items())))
    assert train.shape_of(first, turned) == train.shape_of(first, MLP)
    for changed in (
        first.model_copy(update={"batch_size": 64}),
        first.model_copy(update={"optimizer": first.optimizer.model_copy(update={"clip_norm": 3.0})}),
        first.model_copy(update={"label_smoothing": 0.1}),
    ):
        assert train.shape_of(changed, MLP) != train.shape_of(first, MLP)
    assert train.shape_of(first, LINEAR) != train.shape_of(first, MLP)


def test_a_stack_of_what_does_not_belong_together_is_refused(splits, tmp_path):
    one, other = configs(epochs=(1, 1))
    mixed = members([one, other.model_copy(update={"batch_size": 7})], tmp_path)
    with pytest.raises(UsageError, match="more than numbers"):
        next(train.fit_stack(mixed, splits, metric="roc_auc", folder="."))
    with pytest.raises(UsageError, match="dropout"):
        next(train.fit_stack(members([one], tmp_path, ModelConfig()), splits, metric="roc_auc", folder="."))
    texts = pa.table({"words": [f"row {row} says so many words" for row in range(200)], "y": ["a", "b"] * 100})
    data = DataConfig(source="t", target="y", types={"words": "text"})
    read = prepare(data, SplitConfig(), open_store(str(tmp_path / "store")), folder=".", source=texts)
    with pytest.raises(UsageError, match="over numbers and categories alone"):
        next(train.fit_stack(members([one], tmp_path), read, metric="roc_auc", folder="."))


def test_a_member_and_what_is_told_travel_between_processes(splits, tmp_path):
    given = members(configs(epochs=(1, 1)), tmp_path)
    assert pickle.loads(pickle.dumps(given)) == given
    told = next(train.fit_stack(given, splits, metric="roc_auc", folder="."))
    assert pickle.loads(pickle.dumps(told)) == told


def test_to_ask_what_can_be_a_stack_loads_no_torch():
    code = "from raymle import train; train.shape_of, train.why_not; import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

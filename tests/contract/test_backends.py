"""One loop, every world: the same weights from one worker and from several that share each batch."""

import socket

import numpy as np
import pytest
import torch
from helpers import train_config
from torch import distributed, multiprocessing

from raymle.config import ModelConfig
from raymle.data.shards import Arrays
from raymle.errors import WorkError
from raymle.model.build import build
from raymle.records import Inputs
from raymle.train import loop
from raymle.train.backends import ddp, inline
from raymle.train.objective import Objective

OBJECTIVE = Objective("classification", "roc_auc", outputs=2, positive=1)


def arrays(rows, seed):
    draw = np.random.default_rng(seed)
    numbers = draw.normal(size=(rows, 4)).astype(np.float32)
    codes = draw.integers(0, 5, (rows, 2)).astype(np.int32)
    target = (numbers[:, 0] + (codes[:, 0] == 1) > 0.2).astype(np.int64)
    return Arrays(numbers, codes, target, np.argsort(draw.random(rows)))


def train(world, rows, batch, *, bad=None, epochs=3, normalisation="none"):
    """Train on a world and return the reports and what the loop returned."""
    torch.set_num_threads(1)
    data = arrays(rows, 0)
    if bad is not None:
        data.numbers[bad] = np.nan
    params = {"hidden": [16], "dropout": 0.0, "normalisation": normalisation}
    module = build(ModelConfig(params=params), Inputs(numbers=4, categories=(5, 5)), 2, seed=world.rank)
    optimizer = {"learning_rate": 0.01}
    config = train_config(epochs=epochs, batch_size=batch, optimizer=optimizer, early_stopping={"patience": 1})
    reports = loop.epochs(module, data, arrays(61, 1), config, objective=OBJECTIVE, world=world)
    seen = []
    while True:
        try:
            seen.append(next(reports).metrics)
        except StopIteration as end:
            return seen, end.value


def member(rank, size, port, results, arguments):
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    results[rank] = train(ddp.World(torch.device("cpu")), **arguments)
    distributed.destroy_process_group()


def group(size, work=member, **arguments):
    """Train on that many processes and return what each of them got."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with multiprocessing.Manager() as manager:
        results = manager.dict()
        multiprocessing.spawn(work, (size, port, results, arguments), nprocs=size)
        return [results[rank] for rank in range(size)]


@pytest.mark.parametrize(("size", "rows", "batch"), [(2, 257, 32), (3, 7, 2)], ids=["two", "more workers than rows"])
def test_several_workers_end_where_one_does(size, rows, batch):
    alone, expected = train(inline.World(), rows, batch)
    members = group(size, rows=rows, batch=batch)
    for seen, best in members:
        assert len(seen) == len(alone)
        for ours, theirs in zip(alone, seen, strict=True):
            for name in ("train_loss", "validation_loss", "roc_auc", "grad_norm"):
                assert theirs[name] == pytest.approx(ours[name], rel=1e-4), name
        assert best.epoch == expected.epoch
        for name, weights in expected.weights.items():
            torch.testing.assert_close(best.weights[name], weights, rtol=1e-4, atol=1e-5)


def test_workers_agree_on_every_weight_and_buffer():
    (_, first), (_, second) = group(2, rows=130, batch=32, normalisation="batch")
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)


def test_a_bad_row_of_one_worker_stops_all_at_the_same_step():
    _, alone = train(inline.World(), 64, 16, bad=5)
    problems = {best.problem for _, best in group(2, rows=64, batch=16, bad=5)}
    assert problems == {alone.problem}
    assert "not finite at step" in alone.problem


def astray(rank, size, port, results, _):
    """Train, but let the last worker's weights go astray in the second epoch."""
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    module = build(ModelConfig(params={"hidden": [8]}), Inputs(numbers=4, categories=(5, 5)), 2)
    config = train_config(epochs=4, batch_size=32, early_stopping=None)
    reports = loop.epochs(
        module, arrays(96, 0), arrays(61, 1), config, objective=OBJECTIVE, world=ddp.World(torch.device("cpu"))
    )
    next(reports)
    if rank == size - 1:
        with torch.no_grad():
            module.layers[0].bias += 1e-6
    try:
        next(reports)
    except WorkError as error:
        results[rank] = str(error)
    distributed.destroy_process_group()


def test_workers_that_are_out_of_step_stop_and_say_who_and_where():
    said = group(2, work=astray)
    assert said[0] == said[1]
    assert said[0] == "worker 1 of 2 is out of step with worker 0 in layers.0.bias, after epoch 2"

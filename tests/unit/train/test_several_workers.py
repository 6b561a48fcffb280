"""Several workers learn what one learns, however the rows fall."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import drain, train_config
from small_net import Net

from raymle.data.shards import Arrays
from raymle.train import loop
from raymle.train.backends.inline import World
from raymle.train.objective import Objective

CLASSES = Objective(task="classification", metric="roc_auc", outputs=2, positive=1)


def arrays(rows: int, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(rows, 3)).astype(np.float32)
    target = (numbers[:, 0] + 0.3 * rng.normal(size=rows) > 0).astype(np.int64)
    return Arrays(numbers, np.zeros((rows, 0), np.int32), target, np.arange(rows))


def config(**values):
    return train_config(**{"epochs": 3, "batch_size": 64, **values})


def drive(settings, rows=500, world=None, train=None, module=None):
    epochs = loop.epochs(
        module or Net(), train or arrays(rows), arrays(200, 1), settings, objective=CLASSES, world=world or World()
    )
    return drain(epochs)


class Pair:
    """Two workers in two threads that sum through a barrier: the arithmetic of a group without its network."""

    def __init__(self, size: int) -> None:
        self.barrier, self.parts = threading.Barrier(size), [None] * size

    def exchange(self, rank, value):
        self.parts[rank] = value
        self.barrier.wait(20)
        found = list(self.parts)
        self.barrier.wait(20)
        return found


def member(pair: Pair, rank: int, size: int):
    def average(parameters):
        for parameter in parameters:
            parameter.grad = torch.stack(pair.exchange(rank, parameter.grad)).mean(0)

    return SimpleNamespace(
        rank=rank, size=size, device=torch.device("cpu"), wrap=lambda module: module,
        average=average, settle=lambda module: None,
        sum=lambda values: torch.stack(pair.exchange(rank, values.clone())).sum(0),
        gather=lambda rows: np.concatenate(pair.exchange(rank, rows)),
    )  # fmt: skip


@pytest.mark.parametrize(("rows", "size"), [(500, 2), (129, 2), (3, 2), (1, 2), (100, 3)])
def test_several_workers_learn_what_one_learns_however_the_rows_fall(rows, size):
    _, alone = drive(config(), rows=rows)
    pair, found = Pair(size), [None] * size
    modules = [Net() for _ in range(size)]  # not in the threads: they share torch's random state

    def work(rank):
        found[rank] = drive(config(), rows=rows, world=member(pair, rank, size), module=modules[rank])[1]

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for name, weights in alone.weights.items():
        for each in found:
            assert torch.allclose(each.weights[name], weights, atol=1e-6)

"""An isolation forest: grown by scikit-learn, kept as the tables of a network."""

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from raymle.data import shards
from raymle.data.shards import Arrays
from raymle.errors import DataError
from raymle.model.params import ForestParams, parameters
from raymle.records import Epoch
from raymle.train.best import Best
from raymle.train.loop import validate
from raymle.train.task import Task
from raymle.train.world import World

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest
    from sklearn.tree._tree import Tree


def run(task: Task, world: World) -> Generator[Epoch, bool | None, Best]:
    """Grow the forest of a task, which is one epoch, and report how it does on validation rows."""
    started, best = time.monotonic(), Best()
    splits = shards.here(task.splits, task.storage)
    train, validation = shards.load(splits, "train"), shards.load(splits, "validation")
    params: ForestParams = parameters(task.contents.model)
    rows = usual(train, params, task.train.seed)
    module = task.module()
    module.load_state_dict(tables(grow(rows, params, task.train.seed), params), strict=False)
    scores = validate(module, validation, task.objective, world)
    scores["rows_per_second"] = len(rows) / (time.monotonic() - started)
    yield best.count(module, scores, task.objective.rank(scores), step=1, warnings=[])
    return best


def usual(train: Arrays, params: ForestParams, seed: int) -> npt.NDArray[np.float32]:
    """Return inputs ``[n, a + b]`` of rows that are no anomalies: as many as all trees together look at, drawn.

    Raises:
        DataError: there are fewer than two.
    """
    known = np.flatnonzero(np.asarray(train.target) == 0)
    if len(known) < 2:
        raise DataError(f"{len(known)} of the train rows are usual, and a forest is grown from two or more")
    most = params.n_estimators * params.max_samples
    if len(known) > most:
        known = np.sort(np.random.default_rng(seed).choice(known, most, replace=False))
    return np.concatenate([train.numbers[known], train.codes[known]], axis=1, dtype=np.float32)


def grow(rows: npt.NDArray[np.float32], params: ForestParams, seed: int) -> "IsolationForest":
    """Grow the trees; the same seed gives the same."""
    from sklearn.ensemble import IsolationForest

    most = min(params.max_samples, len(rows))
    forest = IsolationForest(n_estimators=params.n_estimators, max_samples=most, random_state=seed)
    grown: IsolationForest = forest.fit(rows)
    return grown


def tables(forest: "IsolationForest", params: ForestParams) -> dict[str, Tensor]:
    """Return the buffers of ``nets.anomaly.IsolationForest``."""
    nodes = 2 * params.max_samples - 1
    each = [_table(tree.tree_, nodes) for tree in forest.estimators_]
    found = {name: torch.from_numpy(np.stack([table[name] for table in each])) for name in each[0]}
    return {**found, "usual": torch.tensor(average(np.array([forest.max_samples_]))[0], dtype=torch.float32)}


def _table(tree: "Tree", nodes: int) -> dict[str, npt.NDArray[Any]]:
    """Return one tree as rows of so many nodes, those after its own never reached."""
    own = np.arange(tree.node_count)
    is_leaf = tree.children_left == -1
    cut = np.where(is_leaf, np.inf, tree.threshold)
    down = cut.astype(np.float32)  # a float32 is up to the cut when it is up to the next float32 below
    down = np.where(down > cut, np.nextafter(down, np.float32(-np.inf)), down)
    found = {
        "feature": np.where(is_leaf, 0, tree.feature),
        "cut": down,
        "left": np.where(is_leaf, own, tree.children_left),
        "right": np.where(is_leaf, own, tree.children_right),
        "length": (_depths(tree) + average(tree.n_node_samples)).astype(np.float32),
    }
    return {name: np.pad(values, (0, nodes - len(values))) for name, values in found.items()}


def _depths(tree: "Tree") -> npt.NDArray[np.float64]:
    """Return how many cuts each node is away from the root; a node's children have higher numbers."""
    depths = np.zeros(tree.node_count)
    for node, (left, right) in enumerate(zip(tree.children_left, tree.children_right, strict=True)):
        if left != -1:
            depths[[left, right]] = depths[node] + 1
    return depths


def average(rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return how many random cuts it takes on average to be alone among so many rows: the paper's c(n)."""
    many = np.maximum(rows, 3).astype(np.float64)
    cuts = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.where(rows > 2, cuts, np.where(rows == 2, 1.0, 0.0))


def leaves(module: nn.Module) -> int:
    """Return how many leaves the trees of a forest have."""
    length = module.get_buffer("length")
    is_leaf = torch.isinf(module.get_buffer("cut")) & (length > 0)
    return int(is_leaf.sum())

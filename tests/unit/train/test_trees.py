"""Boosted trees read their rows in parts."""

import lightgbm
import numpy as np
import pytest

from raymle.config import TrainConfig
from raymle.data.shards import Arrays
from raymle.model.params import TreesParams
from raymle.train import trees
from raymle.train.objective import Objective

CLASSES = Objective("classification", "roc_auc", outputs=2, positive=1)


@pytest.fixture(scope="module")
def many():
    """More rows than one part, and none a multiple of it."""
    draw, rows = np.random.default_rng(0), 2 * trees.BATCH_ROWS + 1
    numbers, codes = draw.normal(size=(rows, 3)), draw.integers(0, 5, (rows, 2))
    target = (numbers[:, 0] + (codes[:, 0] == 1) > 0.3).astype(np.int64)
    return Arrays(numbers.astype(np.float32), codes.astype(np.int32), target, np.arange(rows))


def grown(dataset):
    booster = lightgbm.Booster(trees.settings(TreesParams(), TrainConfig(), CLASSES), dataset)
    trees.grow(booster, 4)
    return booster


def test_rows_read_in_parts_give_the_trees_of_the_whole_table(many):
    whole = lightgbm.Dataset(
        np.column_stack([many.numbers, many.codes]), many.target, categorical_feature=[3, 4],
        params={"verbosity": -1, "feature_pre_filter": False},
    )  # fmt: skip
    assert grown(trees.dataset(many, CLASSES)).model_to_string() == grown(whole).model_to_string()


def test_scores_in_parts_are_those_of_all_rows(many):
    booster = grown(trees.dataset(many, CLASSES))
    rows = np.column_stack([many.numbers, many.codes])
    wanted = booster.predict(rows, raw_score=True, start_iteration=1, num_iteration=2)
    assert np.array_equal(trees.margins(booster, many, start=1, count=2), wanted)

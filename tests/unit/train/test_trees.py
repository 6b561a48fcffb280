"""Boosted trees read their rows in parts."""

from collections.abc import Mapping
from typing import Any, final

import lightgbm
import numpy as np
import pytest

from raymle.config import TrainConfig
from raymle.data.shards import Arrays
from raymle.errors import WorkError
from raymle.model.params import TreesParams
from raymle.train import trees
from raymle.train.objective import Objective
from raymle.train.peers import Alone, check_in_step

CLASSES = Objective("classification", "roc_auc", outputs=2, positive=1)


@final
class Third:
    """The last of three workers, in a group whose first one always says the same."""

    rank, size = 2, 3
    network: Mapping[str, Any] = {"machines": "10.0.0.1:1,10.0.0.2:2,10.0.0.3:3", "local_listen_port": 3}

    def first(self, value):
        return "what the first says"


@pytest.fixture(scope="module")
def many():
    """More rows than one part, and none a multiple of it."""
    draw, rows = np.random.default_rng(0), 2 * trees.BATCH_ROWS + 1
    numbers, codes = draw.normal(size=(rows, 3)), draw.integers(0, 5, (rows, 2))
    target = (numbers[:, 0] + (codes[:, 0] == 1) > 0.3).astype(np.int64)
    return Arrays(numbers.astype(np.float32), codes.astype(np.int32), target, np.arange(rows))


def grown(dataset):
    booster = lightgbm.Booster(trees.settings(TreesParams(), TrainConfig(), CLASSES, Alone()), dataset)
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


def test_a_share_has_every_third_row_and_the_bins_of_all(many):
    """Of a sorted table too, of which a share's own bins would not know a part."""
    place = np.argsort(many.numbers[:, 0])
    table = Arrays(many.numbers[place], many.codes[place], many.target[place], many.order)
    whole, share = trees.dataset(table, CLASSES).construct(), trees.share(table, CLASSES, Third())
    assert np.array_equal(share.get_label(), table.target[2::3])
    assert [share.feature_num_bin(column) for column in range(5)] == [
        whole.feature_num_bin(column) for column in range(5)
    ]


def test_a_model_does_not_tell_where_its_workers_were():
    text = "tree\n[num_machines: 3]\n[local_listen_port: 3]\n[machines: 10.0.0.1:1]\nend of parameters\n"
    assert trees.without(text, Third.network) == "tree\n[num_machines: 3]\nend of parameters\n"
    assert trees.without(text, Alone.network) == text


def test_a_worker_with_other_trees_than_the_first_is_named():
    check_in_step("trees", Alone())
    with pytest.raises(WorkError, match="worker 2 of 3 is out of step with worker 0"):
        check_in_step("trees", Third())


@pytest.mark.parametrize(("workers", "cpu", "threads"), [(2, 3, 3), (2, 0.5, 1)])
def test_a_worker_of_several_has_the_threads_of_its_cpus(workers, cpu, threads):
    config = TrainConfig.model_validate({"workers": workers, "resources": {"cpu": cpu}})
    assert trees.settings(TreesParams(), config, CLASSES, Third())["num_threads"] == threads

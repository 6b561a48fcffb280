"""Which rows each step of an epoch takes."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raymle.config import TrainConfig
from raymle.data import shards
from raymle.data.shards import Arrays
from raymle.train import order

ROW_BYTES = 4 * 4 + 4 + 8 + 8


def arrays(rows):
    draw = np.random.default_rng(rows)
    return Arrays(
        np.zeros((rows, 4), np.float32), np.zeros((rows, 1), np.int32), np.zeros(rows), draw.permutation(rows)
    )


def epoch_of(train, rows_at_once, *, epoch=1, steps=1, seed=0, start=0):
    config = TrainConfig(seed=seed, shuffle_gib=rows_at_once * ROW_BYTES / 2**30)
    return list(order.batches(train, config, epoch, steps=steps, start=start))


@st.composite
def plans(draw):
    rows = draw(st.integers(1, 400))
    return rows, draw(st.integers(1, 500)), draw(st.integers(1, rows))


@given(plans(), st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_every_row_is_in_one_step_and_the_steps_are_even(plan, seed, epoch):
    rows, at_once, steps = plan
    parts = epoch_of(arrays(rows), at_once, steps=steps, seed=seed, epoch=epoch)
    assert sorted(np.concatenate(parts).tolist()) == list(range(rows))
    assert [len(part) for part in parts] == [len(part) for part in np.array_split(np.arange(rows), steps)]


@given(plans(), st.data())
def test_a_start_in_the_middle_is_the_tail_of_the_whole(plan, data):
    rows, at_once, steps = plan
    start = data.draw(st.integers(0, steps))
    whole = epoch_of(arrays(rows), at_once, steps=steps)
    tail = epoch_of(arrays(rows), at_once, steps=steps, start=start)
    assert [part.tolist() for part in tail] == [part.tolist() for part in whole[start:]]


@given(plans())
def test_everybody_finds_the_same_order_and_epochs_and_seeds_another(plan):
    rows, at_once, steps = plan
    assume(rows > 30)
    first, again, later, other = (
        np.concatenate(epoch_of(arrays(rows), at_once, steps=steps, epoch=epoch, seed=seed)).tolist()
        for epoch, seed in ((1, 0), (1, 0), (2, 0), (1, 7))
    )
    assert first == again
    assert first != later
    assert first != other


@given(st.integers(1, 400), st.integers(1, 500))
def test_a_window_is_blocks_that_follow_in_the_file_and_is_bounded(rows, at_once):
    train = arrays(rows)
    found = order.windows(train, at_once * ROW_BYTES)
    assert (found is None) == (rows <= at_once)
    if found is None:
        return
    spans = found.spans(0, 1)
    assert all(sum(map(len, blocks)) <= at_once for blocks in spans)
    assert all(len(block) == found.block or block.stop == rows for blocks in spans for block in blocks)
    parts = np.split(np.concatenate(epoch_of(train, at_once)), np.cumsum([sum(map(len, blocks)) for blocks in spans]))
    for blocks, part in zip(spans, parts, strict=False):
        assert sorted(part.tolist()) == sorted(row for block in blocks for row in block)


def test_a_table_that_fits_is_shuffled_as_a_whole_whatever_its_order_on_disk():
    train = arrays(300)
    wanted = train.order[np.random.Generator(np.random.PCG64([3, 2])).permutation(300)]
    parts = epoch_of(train, 300, seed=3, epoch=2, steps=7)
    assert [part.tolist() for part in parts] == [part.tolist() for part in np.array_split(wanted, 7)]


def test_rows_that_lie_together_are_drawn_apart():
    """A file sorted by its target: no step may see one class alone, as it would without blocks in random order."""
    rows, window = 10_000, 1_000
    classes = np.arange(rows) >= rows // 2
    parts = epoch_of(arrays(rows), window, steps=100)
    means = np.array([classes[part].mean() for part in parts])
    assert means.min() > 0.05
    assert means.max() < 0.95


@pytest.mark.parametrize("gib", [0, -1, float("inf"), float("nan")])
def test_a_window_has_a_size(gib):
    with pytest.raises(ValueError, match="shuffle_gib"):
        TrainConfig(shuffle_gib=gib)


def test_mapped_arrays_of_prepared_rows_are_walked(prepared):
    train = shards.load(prepared(), "train")
    rows = len(train.order)
    parts = list(order.batches(train, TrainConfig(shuffle_gib=1e-6), 1, steps=5))
    assert sorted(np.concatenate(parts).tolist()) == list(range(rows))

"""Requests that wait at the same time are one batch, and one that fails fails alone."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from raymle.serve.batching import Batcher


def table(*values):
    return pa.table({"x": pa.array(values, pa.float64())})


def ten_times(seen):
    def predict(rows):
        seen.append(rows.num_rows)
        values = rows["x"].to_numpy()
        if (values < 0).any():
            raise ValueError("a negative number")
        return values * 10

    return predict


@pytest.fixture(params=["in the loop", "in a pool"])
def pool(request):
    if request.param == "in the loop":
        yield None
        return
    with ThreadPoolExecutor(1) as made:
        yield made


def run(pool, tables, *, rows=64, deadline=None):
    """Return each request's answer or error, and how many rows each batch had."""
    seen = []

    async def main():
        batcher = Batcher(ten_times(seen), rows=rows, pool=pool)
        until = time.monotonic() + 10 if deadline is None else deadline
        return await asyncio.gather(*(batcher(each, until) for each in tables), return_exceptions=True)

    return asyncio.run(main()), seen


def test_requests_of_one_moment_are_one_batch_and_each_gets_its_own_rows(pool):
    answers, seen = run(pool, [table(1), table(2, 3), table(4)])
    assert [each.tolist() for each in answers] == [[10], [20, 30], [40]]
    assert seen == [4]


def test_a_batch_has_no_more_rows_than_it_may(pool):
    answers, seen = run(pool, [table(each) for each in range(10)], rows=4)
    assert seen == [4, 4, 2]
    assert np.concatenate(answers).tolist() == [each * 10 for each in range(10)]


def test_a_request_with_more_rows_than_a_batch_is_one_of_its_own(pool):
    answers, seen = run(pool, [table(1), table(*range(9)), table(2)], rows=4)
    assert seen == [1, 9, 1]
    assert len(answers[1]) == 9


def test_a_request_that_fails_fails_alone(pool):
    answers, _ = run(pool, [table(1), table(-1), table(2)])
    assert answers[0].tolist() == [10]
    assert isinstance(answers[1], ValueError)
    assert answers[2].tolist() == [20]


def test_who_waited_too_long_gets_no_answer_and_costs_nothing(pool):
    answers, seen = run(pool, [table(1)], deadline=time.monotonic() - 1)
    assert isinstance(answers[0], TimeoutError)
    assert seen == []


def test_a_client_that_has_gone_costs_nothing(pool):
    seen = []

    async def main():
        batcher = Batcher(ten_times(seen), rows=64, pool=pool)
        gone = asyncio.ensure_future(batcher(table(1), time.monotonic() + 10))
        stays = asyncio.ensure_future(batcher(table(2), time.monotonic() + 10))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert asyncio.run(main()).tolist() == [20]
    assert seen == [1]


def test_the_first_of_a_batch_waits_for_others_and_not_longer_than_it_may():
    seen = []

    async def main(seconds):
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(ten_times(seen), rows=64, wait_s=0.2, pool=pool)
            until = time.monotonic() + 10
            first = asyncio.ensure_future(batcher(table(1), until))
            await asyncio.sleep(seconds)
            await asyncio.gather(first, batcher(table(2), until))

    asyncio.run(main(seconds=0.02))
    assert seen == [2]
    seen.clear()
    asyncio.run(main(seconds=0.4))
    assert seen == [1, 1]

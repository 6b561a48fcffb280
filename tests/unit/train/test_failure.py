"""What ended a group of workers: whose fault it was, and whether the group starts again."""

import pytest

from raymle.errors import DataError, WorkError
from raymle.train.backends.failure import Restarts, WorkerLostError, failure, innermost, is_waiting, stuck
from raymle.train.checkpoint import Position
from raymle.train.world import PeerLostError

ray_errors = pytest.importorskip("ray.train.v2._internal.exceptions")

HUNG = """Timeout (0:00:04)!
Thread 0x01 (most recent call first):
  File "/lib/threading.py", line 331 in wait
  File "/raymle/train/watch.py", line 55 in _end

Thread 0x02 (most recent call first):
  File "/mine/net.py", line 11 in forward
  File "/raymle/train/loop.py", line 90 in pass_over
  File "/site/raymle/train/backends/group.py", line 140 in worker
"""
WAITS = HUNG.replace('/mine/net.py", line 11 in forward', '/torch/distributed.py", line 3 in all_reduce')


class EndedError(Exception):
    def __init__(self, **failures):
        self.worker_failures = {int(rank[1:]): error for rank, error in failures.items()}


def users(error):
    return ray_errors.UserExceptionWithTraceback(error, traceback_str="...")


def dead():
    return ray_errors.WorkerHealthCheckFailedError("unhealthy", failure=RuntimeError("actor died"))


def test_a_workers_own_error_comes_before_what_the_others_suffer():
    found = failure(EndedError(r0=users(PeerLostError("gone")), r1=users(ValueError("a shape"))))
    assert (type(found), str(found)) == (WorkError, "training worker 1 failed: ValueError: a shape")
    ours = failure(EndedError(r0=users(DataError("a row")), r1=dead()))
    assert (type(ours), str(ours)) == (DataError, "a row")


def test_a_dead_process_is_lost_and_no_fault_of_the_code():
    assert "worker 1 is gone" in str(failure(EndedError(r0=users(PeerLostError("gone")), r1=dead())))
    assert isinstance(failure(EndedError(r0=users(PeerLostError("gone")))), WorkerLostError)
    assert isinstance(failure(EndedError(r0=users(RuntimeError("NCCL error")), r1=dead())), WorkerLostError)
    assert type(failure(RuntimeError("Ray is not well"))) is WorkError


def test_a_group_starts_again_as_long_as_it_gets_on():
    restarts = Restarts()
    assert [restarts.again(None) for _ in range(4)] == [True, True, True, False]
    restarts = Restarts()
    assert all(restarts.again(Position(epoch, 0)) for epoch in range(1, 20))
    assert [restarts.again(Position(19, 0)) for _ in range(3)] == [True, True, False]


def test_the_worker_that_hangs_is_told_from_those_that_wait_for_it(tmp_path):
    (tmp_path / "worker-0.txt").write_text(WAITS)
    (tmp_path / "worker-1.txt").write_text(HUNG)
    (tmp_path / "worker-2.txt").write_text("")
    found = str(stuck(tmp_path, 4))
    assert found.startswith('worker 1 made no step in 4 s: it is in "/mine/net.py", line 11 in forward; ')
    assert f"the stacks of all 2 workers are in {tmp_path}" in found
    assert is_waiting(WAITS)
    assert innermost("nothing") == "native code"


def test_without_stacks_nobody_is_stuck(tmp_path):
    assert stuck(tmp_path, 4) is None
    assert stuck(tmp_path / "absent", 4) is None

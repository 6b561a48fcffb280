import subprocess
import sys
import time

from raymle.measure import resources


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_calls_are_timed_after_the_first_ones():
    numbers = []

    def call(number):
        spin(0.02 if len(numbers) < 3 else 0.001)
        numbers.append(number)

    found = resources.timed(call, seconds=0.05)
    assert 0.9 < found.median_ms < 15
    assert found.median_ms <= found.p95_ms
    assert len(numbers) >= 3 + resources.FEWEST


def test_a_slow_call_is_still_made_often_enough_and_a_quick_one_not_for_ever():
    numbers = []
    resources.timed(lambda number: (numbers.append(number), spin(0.01)), seconds=0)
    assert len(numbers) == 3 + resources.FEWEST
    quick = []
    resources.timed(quick.append, seconds=60)
    assert max(quick) + 1 == resources.MOST


def test_a_call_that_never_works_counts_all_the_same():
    found = resources.timed(lambda _: time.sleep(0.002), seconds=0.01)
    assert found.median_ms >= 2
    assert found.share < 0.5


def test_memory_is_the_most_that_was_ever_held():
    code = (  # a process of its own: this one may have held more before
        "from raymle.measure.resources import peak_memory_mb\n"
        "before = peak_memory_mb()\n"
        "held = bytearray(60_000_000)\n"
        "held[::4096] = b'x' * len(held[::4096])\n"
        "del held\n"
        "print(before, peak_memory_mb())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert before + 40 < after < before + 200


def test_size_counts_every_file_under_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"0" * 1_000_000)
    (tmp_path / "y").write_bytes(b"0" * 500_000)
    assert resources.size_mb(tmp_path) == 1.5

"""How long does a training stand still when a worker, or the command itself, is killed, and what is done again?"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from measured import median, write

REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
ROWS, FEATURES, EPOCHS, KILLED_AFTER, GONE_S = 200_000, 32, 8, 3, 30
BACKENDS = ("ddp", "horovod")
SPEC = f"""
name: recovery
data: {{source: table.parquet, target: target}}
model: {{type: mlp, params: {{hidden: [512, 256]}}}}
train: {{epochs: {EPOCHS}, workers: 2, early_stopping: null}}
"""
EPOCH = re.compile(r"epoch (\d+)/")
POSITION = re.compile(r"from epoch (\d+)(?:, step (\d+))?")
STEPS = 157  # of an epoch: 80 % of the rows, 1,024 a step


class Said(NamedTuple):
    """A line of stderr, and the second of the clock at which it came."""

    at: float
    text: str

    @property
    def epoch(self) -> int:
        """The epoch that it reports; 0 when it says something else."""
        found = EPOCH.match(self.text)
        return int(found[1]) if found else 0


class Recovery(NamedTuple):
    """What one kill cost."""

    epoch_s: float
    """Length of an epoch before it."""
    next_s: float
    """From the kill, or the second command, to the end of the next epoch."""
    told_s: float = 0.0
    told: str = ""
    """The line that announces the restart, and how long after the kill it came."""

    @property
    def again(self) -> float:
        """Epochs of work that are done again, as far as the epochs that were told show: from its position on."""
        found = POSITION.search(self.told)
        if found is None:
            return float(KILLED_AFTER)
        epoch, step = int(found[1]), int(found[2] or 0)
        return max(0.0, KILLED_AFTER - (epoch - 1 + step / STEPS if step else epoch))

    @property
    def still_s(self) -> float:
        """Seconds until the next step: all but the epoch itself."""
        return max(0.0, self.next_s - self.epoch_s)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="recovery-") as name:
        folder = Path(name)
        table(folder)
        workers = {backend: [worker_killed(folder, backend) for _ in range(REPEATS)] for backend in BACKENDS}
        commands = {backend: [command_killed(folder, backend) for _ in range(REPEATS)] for backend in BACKENDS}
    write("recovery", page(workers, commands))


def table(folder: Path) -> None:
    """Write numbers whose classes a plane divides, and a spec over them."""
    numbers = np.random.default_rng(0).normal(size=(ROWS, FEATURES)).astype(np.float32)
    columns = {f"n{i}": numbers[:, i] for i in range(FEATURES)}
    pq.write_table(
        pa.table(columns | {"target": np.where(numbers[:, :8].sum(1) > 0, "yes", "no")}), folder / "table.parquet"
    )
    (folder / "raymle.yaml").write_text(SPEC)


def worker_killed(folder: Path, backend: str) -> Recovery:
    """Kill one of two workers, and watch the others."""
    with train(folder, f"train.backend={backend}") as process:
        said = lines(process)
        before = until(said, KILLED_AFTER)
        victim = workers(process)[-1]
        killed = time.perf_counter()
        victim.kill()
        after = until(said, 1)
        for _ in said:  # the rest of the training
            pass
        if process.wait():
            raise SystemExit(f"exit code {process.returncode} after a worker was lost")
    told = next((each for each in after if POSITION.search(each.text)), after[-1])
    seconds = after[-1].at - killed, told.at - killed
    return Recovery(epoch_seconds(before), *seconds, told.text)


def command_killed(folder: Path, backend: str) -> Recovery:
    """Kill the command, and go on with the run in another."""
    with train(folder, f"train.backend={backend}") as process:
        before = until(lines(process), KILLED_AFTER)
        orphans = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    started = time.perf_counter()
    with train(folder, f"train.backend={backend}", "--resume", "last") as process:
        said = lines(process)
        after = until(said, 1)
        for _ in said:
            pass
        if process.wait():
            raise SystemExit(f"exit code {process.returncode} of the second command")
    _, left = psutil.wait_procs(orphans, GONE_S)
    for each in left:
        print(f"left behind: {each}", file=sys.stderr)
        each.kill()
    told = next((each for each in after if POSITION.search(each.text)), after[-1])
    return Recovery(epoch_seconds(before), after[-1].at - started, told.at - started, told.text)


@contextmanager
def train(folder: Path, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """Start `raymle train`; what of it is still there at the end of the block ends with it."""
    argv = [sys.executable, "-m", "raymle", "train", *words]
    environ = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        argv, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def lines(process: "subprocess.Popen[str]") -> Iterator[Said]:
    """Yield what the command says, when it says it."""
    assert process.stderr is not None
    for line in process.stderr:
        yield Said(time.perf_counter(), line.rstrip())


def until(said: Iterator[Said], epoch: int) -> list[Said]:
    """Read on to the line of an epoch that is not before this one."""
    found: list[Said] = []
    for each in said:
        found.append(each)
        if each.epoch >= epoch:
            return found
    raise SystemExit("no more epochs:\n" + "\n".join(each.text for each in found))


def workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Return the processes of the training workers."""
    every: list[Any] = psutil.Process(process.pid).children(recursive=True)
    return [each for each in every if each.cmdline()[:1] and each.cmdline()[0].startswith("ray::RayTrainWorker")]


def epoch_seconds(said: list[Said]) -> float:
    """Return how long an epoch takes."""
    at = [each.at for each in said if each.epoch]
    return statistics.median(later - earlier for earlier, later in pairwise(at))


def page(workers: dict[str, list[Recovery]], commands: dict[str, list[Recovery]]) -> list[str]:
    """Lay out what was found."""
    return [
        "# Seconds from a kill to the next step",
        "",
        f"{ROWS:,} rows of {FEATURES} numbers, MLP 512-256, 2 workers; SIGKILL as soon as epoch {KILLED_AFTER}",
        f"of {EPOCHS} is told; {REPEATS} runs each, median (range). The next step is taken one epoch before the next",
        "new epoch is told.",
        "",
        "| killed | backend | an epoch, s | told after, s | next step, s | next epoch, s | epochs done again |",
        "|--|--|--|--|--|--|--|",
        *(row("a worker", backend, found) for backend, found in workers.items()),
        *(row("the command, then `--resume last`", backend, found) for backend, found in commands.items()),
        "",
        "What is said:",
        "",
        *(f"- {backend}: {each[backend][-1].told}" for each in (workers, commands) for backend in BACKENDS),
    ]


def row(what: str, backend: str, found: list[Recovery]) -> str:
    """Sum up the runs of one way."""
    told = median([each.told_s for each in found]) if found[0].told else ""
    seconds = [
        median([each.epoch_s for each in found]), told, median([each.still_s for each in found]),
        median([each.next_s for each in found]),
    ]  # fmt: skip
    return f"| {what} | {backend} | {' | '.join(seconds)} | {max(each.again for each in found):.2f} at most |"


if __name__ == "__main__":
    main()

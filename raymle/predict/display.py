"""What a person sees while rows are predicted."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from raymle.predict.progress import Progress, line
from raymle.train import say

Show = Callable[[Progress], None]
EVERY_S = 10


@contextmanager
def display() -> Iterator[Show]:
    """Show the progress on stderr for the block: a bar on a terminal, else a line every ten seconds."""
    if sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _lines()


def _lines() -> Show:
    started = told = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= EVERY_S:
            told = time.monotonic()
            say(line(progress, told - started))

    return show


@contextmanager
def _bar() -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    started = time.monotonic()
    with Bar(BarColumn(bar_width=20), TextColumn("{task.description}"), console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)

        def show(progress: Progress) -> None:
            text = line(progress, time.monotonic() - started)
            bar.update(task, description=text, total=progress.total, completed=progress.done)

        yield show

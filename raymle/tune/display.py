"""What a person sees while a study runs: a live leaderboard, or a line for each trial that ended."""

import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from raymle.train import say
from raymle.tune.leaderboard import view
from raymle.tune.progress import Progress, ended, later, line

if TYPE_CHECKING:
    from rich.console import RenderableType

Show = Callable[[Progress], None]


@contextmanager
def display(seen: Collection[int] = ()) -> Iterator[Show]:
    """Show a study on stderr for the block: live on a terminal, else one line a trial that ended.

    Args:
        seen: Numbers of trials that need no line: those that had ended before a study was resumed.
    """
    from rich.console import Console

    if sys.stderr.isatty() and not Console(stderr=True).is_dumb_terminal:
        with _live() as show:
            yield show
    else:
        yield _lines(seen)


@contextmanager
def _live() -> Iterator[Show]:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    heard: list[tuple[Progress, float]] = []

    def now() -> "RenderableType":
        if not heard:
            return ""
        progress, at = heard[0]
        return view(later(progress, time.monotonic() - at), console.width)

    def show(progress: Progress) -> None:
        heard[:] = [(progress, time.monotonic())]

    live = Live(
        console=console,
        get_renderable=now,
        refresh_per_second=4,
        redirect_stdout=sys.stdout.isatty(),  # what goes into a pipe must not end up on the terminal
    )
    with suppress(OSError):  # nobody reading it any more is no reason to stop the work
        live.start()
    try:
        yield show
    finally:
        with suppress(OSError):
            live.stop()


def _lines(seen: Collection[int]) -> Show:
    told = set(seen)

    def show(progress: Progress) -> None:
        for row in ended(progress):
            if row.number not in told:
                told.add(row.number)
                say(line(row, len(told)))

    return show

"""What a person sees while a model trains."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from raymle.records import Epoch

Show = Callable[[Epoch], None]
NOT_SCORES = {"train_loss", "validation_loss", "learning_rate", "grad_norm", "rows_per_second"}


@contextmanager
def display(epochs: int) -> Iterator[Show]:
    """Show every epoch on stderr for the block: a live line on a terminal, else one line an epoch.

    Args:
        epochs: Most epochs there will be; the estimate of the time left rests on it.
    """
    if sys.stderr.isatty():
        with _live(epochs) as show:
            yield show
    else:
        yield lambda epoch: say(line(epoch, epochs))


def say(text: str) -> None:
    """Print a line of progress; nobody reading it any more is no reason to stop the work."""
    with suppress(OSError, RuntimeError):  # a signal's handler may be inside another print
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def line(epoch: Epoch, epochs: int) -> str:
    """Sum one epoch up in a line."""
    most = f"/{epochs}" if epoch.epoch <= epochs else ""  # trees report more often than `train.epochs`
    shown = {name: value for name, value in epoch.metrics.items() if "/" not in name and name not in NOT_SCORES}
    scores = [f"{name} {value:.4f}" for name, value in shown.items()]
    losses = [
        f"{name} {epoch.metrics[name]:.4f}" for name in ("train_loss", "validation_loss") if name in epoch.metrics
    ]
    speed = epoch.metrics.get("rows_per_second")
    parts = [f"epoch {epoch.epoch}{most}", *losses, *scores, f"{speed:,.0f} rows/s" if speed else ""]
    return "  ".join(part for part in parts if part) + ("  best" if epoch.best else "")


@contextmanager
def _live(epochs: int) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
        task = progress.add_task("training", total=epochs, left="")

        def show(epoch: Epoch) -> None:
            progress.console.print(line(epoch, epochs), highlight=False)
            total = max(epochs, epoch.epoch)
            left = (time.monotonic() - started) / epoch.epoch * (total - epoch.epoch)
            progress.update(
                task,
                description=f"epoch {epoch.epoch}",
                total=total,
                completed=epoch.epoch,
                left=f"about {left:.0f} s left",
            )

        yield show

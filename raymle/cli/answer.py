"""What a verb says at its end: one document or its text on stdout, and everything else on stderr."""

import functools
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from raymle.text import table as table


@dataclass(frozen=True)
class Answer:
    """One verb's result, for machines and for people."""

    document: Any
    text: str
    as_json: bool = False
    code: int = 0
    note: str = ""
    """What to do next; for people, on stderr."""

    def show(self) -> int:
        """Print it and return the exit code."""
        print(json.dumps(self.document, indent=2, default=str) if self.as_json else self.text)
        sys.stdout.flush()
        if self.note and not self.as_json:
            print(self.note, file=sys.stderr)
        return self.code


def verb(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """Keep stdout clean while a verb works: what libraries and the user's code print goes to stderr."""

    @functools.wraps(function)
    def clean(*args: Any, **kwargs: Any) -> Answer:
        with redirect_stdout(sys.stderr):
            return function(*args, **kwargs)

    return clean


def metrics_text(metrics: dict[str, float], intervals: dict[str, tuple[float, float]]) -> str:
    """Write metrics one a line, with their intervals."""
    return table(
        ("metric", "value", "95 % interval"),
        [
            (name, value, "{:.4f} to {:.4f}".format(*intervals[name]) if name in intervals else "")
            for name, value in metrics.items()
        ],
    )

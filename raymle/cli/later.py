"""Verbs whose work comes later: they are there, so that their names stay, and say so with exit code 2."""

from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from raymle.errors import UsageError

VERBS = {
    "auto": "one call that prepares, searches, scores and promotes",
    "cluster": "clusters in a cloud",
    "monitor": "watching a served model",
    "capture": "keeping the traffic of a served model",
    "audit": "checking a storage's ledger and records",
}


def register(app: typer.Typer) -> None:
    """Add the verbs, out of sight."""
    for name, about in VERBS.items():
        anything = {"ignore_unknown_options": True, "allow_extra_args": True}
        app.command(name, hidden=True, help=f"Later: {about}.", context_settings=anything)(_refusal(name, about))


def _refusal(name: str, about: str) -> Callable[..., NoReturn]:
    def refuse(_words: Annotated[list[str] | None, typer.Argument()] = None) -> NoReturn:
        raise UsageError(f"raymle {name} ({about}) comes in a later version", hint="raymle --help shows what is here")

    return refuse

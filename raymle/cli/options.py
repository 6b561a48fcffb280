"""The arguments and options that verbs share, and what they stand for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raymle.errors import ArtifactError, UsageError

if TYPE_CHECKING:
    from raymle.api import Experiment

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Plan = Annotated[bool, typer.Option("--plan", help="Check everything and say what would happen; start nothing.")]
Key = Annotated[
    str | None, typer.Option("--key", metavar="K", help="The same key returns the same run, for schedulers.")
]
Profile = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="A profile of the spec.")]
Storage = Annotated[
    str | None,
    typer.Option("--storage", metavar="PLACE", help="Where the runs are; default: that of ./raymle.yaml, or ./runs."),
]
SpecWords = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SPEC] [KEY=VALUE]...", help="The spec (./raymle.yaml) and what overrides it."),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="An id, the start of one, or `last`.")]
ModelName = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A RUN, models:/NAME@ALIAS, models:/NAME/VERSION or a bundle folder."),
]


def experiment(words: list[str] | None, profile: str | None, *, searched: bool = False) -> "Experiment":
    """Load the experiment that ``[SPEC] [KEY=VALUE]...`` means.

    Raises:
        UsageError: a range is given to a verb that searches nothing.
    """
    from raymle import api, loader

    spec, overrides = split_words(words or [])
    found = {} if searched else loader.ranges(overrides)
    if found:
        raise UsageError(
            f"{next(iter(found))} is given a range, and this verb runs one value",
            hint="`raymle tune` with the same words searches it",
        )
    return api.Experiment.load(spec, *overrides, profile=profile)


def split_words(words: list[str]) -> tuple[str, list[str]]:
    """Tell the spec from its overrides."""
    if words and ("=" not in words[0] or Path(words[0]).exists()):
        return words[0], words[1:]
    return "raymle.yaml", words


def home(storage: str | None) -> str:
    """Return the storage that is meant: as given, that of ./raymle.yaml, or ./runs.

    Raises:
        ArtifactError: it is not there; a verb that reads must not make one.
    """
    place = storage or usual_home()
    if "://" not in place and not Path(place).is_dir():
        raise ArtifactError(
            f"there is no storage {place}", hint="go to the folder of the spec, or name it with --storage"
        )
    return place


def usual_home() -> str:
    """Return the storage that a verb without one means: that of ./raymle.yaml, or ./runs."""
    if not Path("raymle.yaml").is_file():
        return "runs"
    from raymle import loader

    return loader.load().storage


def home_of(model: str, storage: str | None) -> str:
    """Return the storage to look a MODEL up in; a bundle folder needs none.

    Raises:
        ArtifactError: there is no storage, and what is named is no bundle.
        SecurityError: it is a pickle.
    """
    if Path(model, "MANIFEST.json").is_file():
        return storage or "runs"
    place = storage or usual_home()
    if "://" not in place and not Path(place).is_dir() and Path(model).exists():
        from raymle.model import no_bundle

        raise no_bundle(Path(model))
    return home(storage)

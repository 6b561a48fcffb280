"""``raymle compare``: what models are worth, what they cost, and which to take."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raymle.cli.answer import Answer, verb
from raymle.cli.make import planned
from raymle.cli.options import Json, Plan, Profile, Storage, home, split_words
from raymle.errors import GateRefused, UsageError

if TYPE_CHECKING:
    from raymle.config import Spec
    from raymle.evaluate import Comparison
    from raymle.store import Store

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN... | [SPEC] KEY=choice:...", help="Runs, or a spec with choices that are trained."),
]
Pick = Annotated[str | None, typer.Option("--pick", metavar="METRIC", help="Name the best by a metric or column.")]
Limit = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="COND", help="What the pick must meet, such as 'latency_p95_ms <= 5'; repeatable."),
]
Output = Annotated[
    Path | None, typer.Option("--output", metavar="FOLDER", help="Where page and picture go; default: the storage.")
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("compare")(verb(compare))


def compare(
    words: Words = None,
    *,
    pick: Pick = None,
    limit: Limit = None,
    output: Output = None,
    profile: Profile = None,
    storage: Storage = None,
    plan: Plan = False,
    json: Json = False,
) -> Answer:
    """Put models side by side by quality, speed and cost; pick one.

    raymle compare RUN RUN, or raymle compare model.type=choice:linear,mlp,trees, which trains each first. Latency and
    memory are measured now, one model at a time. Nobody within the limits has exit code 10.
    """
    conditions = limit or []
    if output and output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is a file", hint="name a folder")
    if not _are_runs(words or []):
        return _trained(_specs(words or [], profile, storage), pick, conditions, output=output, plan=plan, json=json)
    if profile:
        raise UsageError("--profile goes with a spec, and these are runs", hint="leave it out")
    place = home(storage)
    from raymle import comparing
    from raymle.store import open_store

    store = open_store(place)
    known = comparing.records(store, words or [], only_look=True)
    comparing.check(comparing.names_of(known), pick, conditions)
    if plan:
        return planned(comparing.plan_runs(store, words or []), as_json=json)
    records = comparing.records(store, words or [])
    return _answer(store, comparing.of_records(store, records), pick, conditions, output=output, json=json)


def _trained(
    specs: "Sequence[Spec]", pick: str | None, conditions: Sequence[str], *, output: Path | None, plan: bool, json: bool
) -> Answer:
    """Train each spec, then compare."""
    from raymle import comparing
    from raymle.store import open_store

    comparing.check(comparing.known(specs), pick, conditions)
    if plan:
        return planned(comparing.plan(specs), as_json=json)
    records = comparing.train(specs)
    store = open_store(specs[0].storage)
    return _answer(store, comparing.of_records(store, records), pick, conditions, output=output, json=json)


def _answer(
    store: "Store", found: "Comparison", pick: str | None, conditions: Sequence[str], *, output: Path | None, json: bool
) -> Answer:
    """Pick, write the page, and answer; why nobody could be picked comes after the table, or on stderr."""
    from raymle import comparing

    refused = ""
    try:
        found = found.picking(pick, *conditions) if pick or conditions else found
    except GateRefused as error:
        refused = f"no pick: {error}\n  hint: {error.hint}"
        if json:
            print(refused, file=sys.stderr)
    page = comparing.write(output, found) if output else comparing.publish(store, found)
    text = f"{found}\n\n{refused}" if refused else str(found)
    return Answer(found.document, text, json, code=GateRefused.exit_code if refused else 0, note=f"page: {page}")


def _are_runs(words: Sequence[str]) -> bool:
    """Whether the words name runs, and not a spec with choices.

    Raises:
        UsageError: there are no words.
    """
    if not words:
        raise UsageError("compare needs runs, or choices to train", hint="raymle compare --help")
    spec = Path(words[0])
    is_spec = spec.suffix in {".yaml", ".yml"} or (spec / "raymle.yaml").is_file()
    return not is_spec and not any("=" in word for word in words)


def _specs(words: Sequence[str], profile: str | None, storage: str | None) -> "list[Spec]":
    """Return the spec with each combination of the choices."""
    from raymle import cloud, comparing, loader

    path, overrides = split_words(list(words))
    ranges = loader.ranges(overrides)
    plain = [word for word in overrides if word.partition("=")[0] not in ranges]
    spec = loader.load(path, plain, profile)
    if storage:
        spec = loader.override(spec, {"storage": storage if "://" in storage else str(Path(storage).absolute())})
    cloud.check_storage(spec.storage, in_job=cloud.in_job())
    return comparing.variants(spec, ranges)

"""Verbs that judge a model: ``evaluate``, ``score``, ``reproduce`` and ``promote``."""

from pathlib import Path
from typing import Annotated

import typer

from raymle.cli.answer import Answer, metrics_text, table, verb
from raymle.cli.make import planned
from raymle.cli.options import Json, ModelName, Plan, RunName, Storage, home, home_of
from raymle.errors import GateRefused, UsageError


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("evaluate")(verb(evaluate))
    app.command("score")(verb(score))
    app.command("reproduce")(verb(reproduce))
    app.command("promote")(verb(promote))
    app.command("rollback")(verb(rollback))


def evaluate(
    model: ModelName,
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="Labelled data of your own.")] = None,
    storage: Storage = None,
    json: Json = False,
) -> Answer:
    """Measure on validation, or on labelled data of your own.

    As often as you like: no sealed row is read.
    """
    place = home_of(model, storage)
    from raymle import api

    found = api.evaluate(model, data, storage=place)
    side = "your data" if data else "validation"
    text = f"{found.rows:,} rows of {side}\n{metrics_text(found.metrics, found.intervals)}"
    note = f"report: {found.report}" if found.report else ""
    return Answer(found.model_dump(mode="json"), text, json, note=note)


def score(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="The candidates; name the champion too.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write the opened rows, for error analysis."),
    ] = None,
    storage: Storage = None,
    json: Json = False,
) -> Answer:
    """Open the sealed test rows once, for the final score.

    Name every candidate, the champion too. Rows that were scored before make the label validation, not test.
    """
    place = home(storage)
    from raymle import api

    scored = api.score(runs, storage=place, output=output)
    document = {
        "runs": [each.model_dump(mode="json", include={"run_id", "metrics", "label"}) for each in scored.runs],
        "seal": scored.seal.model_dump(),
    }
    lines = [
        f"run {each.run_id}, label {each.label}, on {scored.rows:,} rows\n"
        f"{metrics_text(each.metrics, each.intervals)}\n"
        for each in scored.runs
    ]
    seal = f"seal: {scored.seal.rows:,} rows, {scored.seal.fresh:,} fresh, {scored.seal.spent:,} spent"
    is_test = scored.runs[0].label == "test"
    note = f"next: raymle promote {scored.runs[0].run_id}" if is_test else "rows that were scored before promote nobody"
    return Answer(document, "\n".join([*lines, seal]), json, note=note)


def reproduce(
    run: RunName,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", metavar="X", min=0, help="How far a metric may be off, absolute and relative."),
    ] = None,
    plan: Plan = False,
    storage: Storage = None,
    json: Json = False,
) -> Answer:
    """Make a run again from its raw data: PASS or FAIL.

    FAIL has exit code 10. No sealed row is opened, and no new run is recorded.
    """
    place = home(storage)
    from raymle import api, reproduce

    made = api.Run.open(run, storage=place)
    if plan:
        return planned(reproduce.plan(made.store, made.record), as_json=json)
    found = made.reproduce(tolerance=tolerance)
    document = found.model_dump(mode="json", include={"run_id", "verdict", "checks", "seconds"})
    first, *rest = [(each.name, each.verdict, each.detail) for each in found.checks]
    code = 0 if found.verdict == "PASS" else GateRefused.exit_code
    return Answer(document, f"{table(first, rest)}\n{found.verdict}", json, code=code)


def promote(
    run: RunName,
    *,
    canary: Annotated[
        float | None,
        typer.Option("--canary", metavar="PERCENT", min=0, max=100, help="Answer so many percent beside the champion."),
    ] = None,
    shadow: Annotated[bool, typer.Option("--shadow", help="Be compared with the champion, and answer nobody.")] = False,
    storage: Storage = None,
    json: Json = False,
) -> Answer:
    """Make a scored run the champion, or say why not.

    Whoever serves the champion follows, without a lost request; a version that fails there (exit code 4) is never
    champion. A refusal has exit code 10: the same call again is refused again.
    """
    if canary is not None and shadow:
        raise UsageError("--canary and --shadow do not go together", hint="a shadow answers nobody")
    place = home(storage)
    from raymle import api

    version = api.Run.open(run, storage=place).promote(canary=canary, shadow=shadow)
    document = version.model_dump(mode="json", include={"name", "version", "alias", "passed", "reasons"})
    reasons = "\n".join(f"  {reason}" for reason in version.reasons)
    if version.passed:
        head = f"{version.name} version {version.version} is {version.alias}"
        is_news = version.alias == "champion" and not version.served
        note = f"next: raymle serve models:/{version.name}@champion" if is_news else ""
        return Answer(document, f"{head}\n{reasons}".rstrip(), json, note=note)
    return Answer(document, f"{version.name}: not promoted\n{reasons}", json, code=GateRefused.exit_code)


def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered model.")],
    *,
    storage: Storage = None,
    json: Json = False,
) -> Answer:
    """Go back to the champion before, or drop the challenger.

    Whoever serves the model follows, without a lost request.
    """
    place = home(storage)
    from raymle import api

    version = api.rollback(name, storage=place)
    document = version.model_dump(mode="json", include={"name", "version", "alias", "reasons"})
    return Answer(document, f"{version.name} version {version.version} is champion\n  {version.reasons[0]}", json)

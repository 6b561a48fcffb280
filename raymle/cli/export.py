"""``raymle export``: a model for other machines, measured against the original."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from raymle.cli.answer import Answer, verb
from raymle.cli.make import planned
from raymle.cli.options import Json, ModelName, Plan, Storage, home_of
from raymle.errors import GateRefused


class Format(StrEnum):
    """What the folder holds."""

    onnx = "onnx"
    torch = "torch"


class Quantize(StrEnum):
    """How its numbers are made smaller."""

    int8 = "int8"


class Calibrate(StrEnum):
    """Where the scales of 8-bit come from."""

    auto = "auto"
    static = "static"
    dynamic = "dynamic"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export")(verb(export))


def export(
    model: ModelName,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make; it is a MODEL too.")],
    *,
    form: Annotated[Format, typer.Option("--format", help="An ONNX model, or torch's weights.")] = Format.onnx,
    quantize: Annotated[Quantize | None, typer.Option("--quantize", help="Make weights and layers 8-bit.")] = None,
    calibrate: Annotated[
        Calibrate,
        typer.Option("--calibrate", help="Scales of 8-bit: from validation rows, from each call, or the better."),
    ] = Calibrate.auto,
    max_loss: Annotated[
        float, typer.Option("--max-loss", metavar="X", min=0, help="Most that the run's metric may lose.")
    ] = 0.01,
    plan: Plan = False,
    storage: Storage = None,
    json: Json = False,
) -> Answer:
    """Make a model for other machines: ONNX, 8-bit, or torch weights.

    Size, latency and quality are measured beside the original. Too large a loss has exit code 10 and leaves nothing.
    """
    place = home_of(model, storage)
    from raymle import api, references
    from raymle.export import Wish
    from raymle.export import plan as plan_of

    small: Literal["int8"] | None = "int8" if quantize else None
    if plan:
        found, rows = references.exportable(model, place)
        wish = Wish(form.value, small, calibrate.value, max_loss)
        return planned(plan_of(found.bundle, out, wish, rows), as_json=json)
    made = api.export(
        model, out, format=form.value, quantize=small, calibrate=calibrate.value, max_loss=max_loss, storage=place
    )
    document = made.model_dump(mode="json", exclude={"warnings"})
    warnings = [f"warning: {each}" for each in made.warnings]
    if not made.passed:
        return Answer(document, "\n".join([str(made), *made.reasons]), json, code=GateRefused.exit_code)
    note = "\n".join([*warnings, f"next: raymle predict {out} IN OUT.parquet    or: raymle serve {out}"])
    return Answer(document, f"{made}\n\n{made.form} is in {made.output}", json, note=note)

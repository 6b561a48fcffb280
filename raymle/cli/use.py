"""Verbs that use a model or a cluster: ``predict`` and ``submit``."""

import sys
from typing import Annotated

import typer

from raymle.cli.answer import Answer, table, verb
from raymle.cli.make import planned
from raymle.cli.options import Json, Key, ModelName, Plan, Storage, home_of


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("predict")(verb(predict))
    app.command("submit")(verb(submit))


def predict(
    model: ModelName,
    source: Annotated[str, typer.Argument(metavar="IN", help="Rows to predict: a file, glob, folder or URI.")],
    output: Annotated[str, typer.Argument(metavar="OUT", help="A .parquet file, or a folder of parts; a path or URI.")],
    *,
    ray: Annotated[
        bool | None,
        typer.Option("--ray/--no-ray", help="Spread the work over Ray; default: where RAY_ADDRESS is set."),
    ] = None,
    max_quarantined: Annotated[
        float, typer.Option("--max-quarantined", metavar="X", help="The fraction of bad rows that is too many.")
    ] = 0.1,
    storage: Storage = None,
    plan: Plan = False,
    json: Json = False,
) -> Answer:
    """Predict a whole source into parquet.

    It holds the key columns, the prediction, and each class's probability. The same call goes on with one that was
    killed. Rows that break the model's contract go to OUT.quarantine.parquet with the reason.
    """
    place = home_of(model, storage)
    from raymle import api

    if plan:
        return planned(api.plan_predict(model, source, output, storage=place, on_ray=ray), as_json=json)
    done = api.predict(model, source, output, storage=place, on_ray=ray, max_quarantined=max_quarantined)
    here = done.rows + done.quarantined - done.resumed
    speed = f"{here / max(done.seconds, 1e-3):,.0f} rows/s"
    told = [f"{done.quarantined:,} without a prediction: {done.quarantine}"] if done.quarantined else []
    return Answer(
        done.model_dump(mode="json", exclude={"warnings", "resumed"}),
        "\n".join([f"{done.rows:,} rows in {done.seconds:.1f} s ({speed}): {done.output}", *told]),
        json,
        note="\n".join(f"warning: {each}" for each in done.warnings),
    )


def submit(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What runs on the cluster.")],
    *,
    address: Annotated[str, typer.Option("--address", help="The dashboard's address.")] = "http://127.0.0.1:8265",
    folder: Annotated[str, typer.Option("--folder", help="What is sent.")] = ".",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the job's output to its end.")] = True,
    key: Key = None,
    plan: Plan = False,
    json: Json = False,
) -> Answer:
    """Send a folder to a Ray cluster and run a command there.

    For instance: raymle submit -- python jobs/flights/run.py
    """
    from raymle.cloud import submit as cloud

    if plan:
        upload = cloud.preview(folder)
        largest = table(("file",), [(name,) for name in upload.files[:20]])
        text = f"{len(upload.files):,} files, {upload.bytes / 2**20:.1f} MB to {address}\n{largest}"
        left = f"left out: {', '.join(upload.left_out)}" if upload.left_out else ""
        return Answer(upload.model_dump(mode="json"), text, json, note="\n".join(filter(None, [left, "nothing sent"])))
    follow = (lambda piece: print(piece, end="", file=sys.stderr, flush=True)) if wait else None
    job = cloud.submit(address, command, folder, follow=follow, key=key)
    return Answer(job.model_dump(mode="json"), f"{job.id} {job.status}: {job.entrypoint}", json)

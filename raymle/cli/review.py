"""Verbs to look back with: ``runs``, ``ui`` and ``doctor``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raymle.cli.answer import Answer, table, verb
from raymle.cli.make import pretrained_document, trained_document, trained_text
from raymle.cli.options import Json, Profile, RunName, Storage, home
from raymle.errors import SetupError

if TYPE_CHECKING:
    from raymle.store import Store

RunNames = Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids, or the start of them.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(help="List, show, compare and remove runs.")
    for function in (ls, show, diff, rm):
        group.command(function.__name__)(verb(function))
    app.add_typer(group, name="runs")
    app.command("ui")(verb(ui))
    app.command("doctor")(verb(doctor))


def ls(storage: Storage = None, json: Json = False) -> Answer:
    """List the runs, newest first."""
    from raymle.tracking import shelf

    runs = shelf.every(_store(storage))
    rows = [
        (each.run_id, each.name, each.status, each.model, each.metric,
         each.metrics.get("validation", {}).get(each.metric), each.execution, each.seconds.get("total"))
        for each in runs
    ]  # fmt: skip
    head = ("run", "name", "status", "model", "metric", "validation", "on", "seconds")
    return Answer([trained_document(each) for each in runs], table(head, rows), json)


def show(run: RunName, storage: Storage = None, json: Json = False) -> Answer:
    """Show a run: what it came to, its spec and its files."""
    from raymle.tracking import notes, shelf

    store = _store(storage)
    run_id = shelf.find(store, run)
    record, spec = shelf.load(store, run_id), shelf.load_spec(store, run_id)
    made_again = notes.reproduced(store, run_id)
    document = {
        **trained_document(record),
        **pretrained_document(record),
        "spec": spec.model_dump(mode="json"),
        "reproduced": made_again.model_dump(mode="json") if made_again else None,
    }
    report = store.root / "runs" / run_id / "report.html"
    reason = shelf.reason(store, run_id)
    text = trained_text(record) + (f"\n\nwhy it {record.status}: {reason}" if reason else "")
    if found := record.pretrained:
        head, *rows = found.table
        parent = found.parent.run_id or found.parent.asked
        about = [f"pretrained from {parent}, version {found.parent.version[:12]}", *found.classes, *found.notes]
        text += "\n\n" + "\n".join([*about, "", table(head, rows)])
    text += f"\n\nreproduced: {made_again.verdict} at {made_again.at}" if made_again else ""
    return Answer(document, text, json, note=f"report: {report}" if report.exists() else "")


def diff(first: RunName, second: RunName, storage: Storage = None, json: Json = False) -> Answer:
    """Compare two runs: the settings and the metrics that differ."""
    from raymle.config.differences import differences
    from raymle.tracking import shelf

    store = _store(storage)
    ids = [shelf.find(store, name) for name in (first, second)]
    settings = differences(*(shelf.load_spec(store, each).model_dump(mode="json") for each in ids))
    facts = {"metrics", "rows", "splits_id", "execution", "workers", "parameters"}
    results = differences(*(shelf.load(store, each).model_dump(mode="json", include=facts) for each in ids))
    document = {"runs": ids, "spec": settings, "results": results}
    rows = [(name, *values) for name, values in {**settings, **results}.items()]
    return Answer(document, table(("what", *ids), rows) if rows else "no difference", json)


def rm(
    runs: RunNames,
    force: Annotated[bool, typer.Option("--force", help="Remove a promoted run too.")] = False,
    storage: Storage = None,
    json: Json = False,
) -> Answer:
    """Remove runs, or whole studies, and the prepared data that no other needs.

    The ledger and MLflow keep what they were told.
    """
    place = home(storage)
    from raymle import removal

    removed = removal.remove(runs, storage=place, force=force)
    return Answer({"removed": removed}, "\n".join(removed), json)


def ui(
    host: Annotated[str, typer.Option("--host", help="Loopback only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 5000,
    storage: Storage = None,
) -> Answer:
    """Open MLflow's pages over the runs until Ctrl-C."""
    from raymle import loader
    from raymle.config import TrackingConfig
    from raymle.tracking import server

    config = loader.load().tracking if Path("raymle.yaml").is_file() else TrackingConfig()
    server.ui(config, _store(storage), host=host, port=port)
    return Answer({}, "")


def doctor(profile: Profile = None, json: Json = False) -> Answer:
    """Say whether this machine is fit, and what to do if not."""
    from raymle import loader
    from raymle.cloud import doctor as cloud

    spec = loader.load(profile=profile) if Path("raymle.yaml").is_file() else None
    found = cloud.checks(spec.storage if spec else ".", tracking_uri=spec.tracking.uri if spec else None)
    rows = [(check.answer, check.name, check.detail, check.fix) for check in found]
    failed = any(check.answer == "fail" for check in found)
    document = {"checks": [check.model_dump(mode="json") for check in found]}
    text = table(("", "what", "found", "to do"), rows)
    return Answer(document, text, json, code=SetupError.exit_code if failed else 0)


def _store(storage: str | None) -> "Store":
    from raymle.store import open_store

    return open_store(home(storage))

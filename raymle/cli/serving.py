"""``serve`` and what belongs to it: for as long as the command runs, or on a cluster that stays."""

import json as to_json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from raymle.cli.answer import Answer, table, verb
from raymle.cli.make import planned
from raymle.cli.options import Json, ModelName, Plan, Storage, home, home_of, usual_home

if TYPE_CHECKING:
    from raymle.hosting import Asked

Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Such as serve.replicas.max=4.")]
Route = Annotated[str, typer.Option("--route", metavar="PATH", help="Where the model is, such as /churn.")]
Address = Annotated[
    str | None, typer.Option("--address", metavar="HOST:PORT", help="The cluster; default: RAY_ADDRESS, or one here.")
]
LOOK_S = 0.5


class _Serve(TyperGroup):
    """A group whose first word may be a MODEL."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb that a MODEL stands for before it."""
        helped = {"-h", "--help"}.intersection(args[:1])
        known = args and (args[0] in self.commands or helped)
        return super().parse_args(ctx, args if known or not args else ["here", *args])


group = typer.Typer(
    cls=_Serve,
    help="""Answer POST /predict: `raymle serve MODEL` until Ctrl-C, or on a cluster.

    MODEL is a RUN, models:/NAME@champion or a bundle folder; models:/NAME@champion follows promotions.
    `raymle serve here --help` shows the options of `raymle serve MODEL`.
    """,
)


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group.command("here")(here)
    verbs: dict[str, Callable[..., Answer]] = {
        "render": render, "deploy": deploy, "status": status, "stop": stop, "token": token
    }  # fmt: skip
    for name, function in verbs.items():
        group.command(name)(verb(function))
    app.add_typer(group, name="serve", short_help="Answer POST /predict, here or on a cluster.")


def here(
    model: ModelName,
    overrides: Overrides = None,
    *,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on; default: the spec's.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one; default: the spec's.")
    ] = None,
    plan: Plan = False,
    storage: Storage = None,
    json: Json = False,
) -> Answer | None:
    """Answer POST /predict until Ctrl-C.

    The address goes to stdout as soon as the model is ready.
    """
    place = home_of(model, storage)
    from raymle import hosting

    given = {"serve.host": host, "serve.port": port}
    words = (*(overrides or ()), *(f"{key}={value}" for key, value in given.items() if value is not None))
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):
        asked = hosting.service_of(model, storage=place, overrides=words)
        if plan:
            return planned(hosting.planned(asked), as_json=json)
        _answer(asked, stdout, as_json=json)
    return None


def _answer(asked: "Asked", stdout: TextIO, *, as_json: bool) -> None:
    """Serve, and tell what changes, until a signal ends it."""
    from raymle import hosting

    with hosting.hosted(asked) as at:
        print(to_json.dumps(at.model_dump(mode="json")) if as_json else at.url, file=stdout, flush=True)
        print(f"serving {at.model} version {at.version}; Ctrl-C stops it", file=sys.stderr)
        if not asked.store:
            print(f"it stays this version: {hosting.FOLLOWS} follows promotions", file=sys.stderr)
        for news in hosting.changes(asked):
            if news:
                print(news, file=sys.stderr, flush=True)
            time.sleep(LOOK_S)  # a signal may reach another thread; this one sees it when it wakes


def render(
    model: ModelName,
    overrides: Overrides = None,
    *,
    route: Route = "/",
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Where the YAML goes.")] = None,
    prometheus: Annotated[
        Path | None,
        typer.Option("--prometheus", metavar="FOLDER", help="Write a scrape file, alerts and a Grafana dashboard too."),
    ] = None,
    storage: Storage = None,
    json: Json = False,
) -> Answer:
    """Write Ray Serve's own configuration.

    It is what `serve deploy` of Ray takes, checked by Ray's own schema.
    """
    place = home_of(model, storage)
    from raymle import hosting

    found = hosting.rendered(model, storage=place, overrides=tuple(overrides or ()), route=route)
    written = [str(output)] if output else []
    if output:
        output.write_text(found.text)
    if prometheus:
        written += map(str, hosting.watched(found.service, prometheus))
    note = "\n".join([*(f"wrote {each}" for each in written), "next: serve deploy FILE, or raymle serve deploy MODEL"])
    return Answer(found.document, found.text.rstrip(), json, note=note)


def deploy(
    model: ModelName,
    overrides: Overrides = None,
    *,
    address: Address = None,
    route: Route = "/",
    plan: Plan = False,
    storage: Storage = None,
    json: Json = False,
) -> Answer:
    """Deploy a model on a running cluster, where it stays.

    What was deployed under its name serves until the new one is ready, and goes on when that fails (exit code 4).
    """
    place = home_of(model, storage)
    from raymle import hosting

    words = tuple(overrides or ())
    if plan:
        found = hosting.rendered(model, storage=place, overrides=words, route=route)
        return Answer(found.document, found.text.rstrip(), json, note="nothing was started")
    at = hosting.deployed(model, storage=place, overrides=words, route=route, address=address)
    text = f"{at.model} version {at.version} answers at {at.url}/predict"
    return Answer(at.model_dump(mode="json"), text, json, note=f"next: raymle serve status {at.model}")


def status(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A served model.")] = None,
    *,
    storage: Storage = None,
    json: Json = False,
) -> Answer:
    """Show which versions answer, and who went why."""
    place = home(storage)
    from raymle import rollout
    from raymle.store import open_store

    found = rollout.status(open_store(place), name)
    head = ("model", "state", "at", "champion", "challenger", "last that went")
    rows = [
        (each.model, "answers" if each.live else "down", each.url, each.champion, _challenger(each), each.ended)
        for each in found
    ]
    text = table(head, rows) if rows else "nothing was served from this storage"
    return Answer([each.model_dump(mode="json") for each in found], text, json)


def _challenger(served: Any) -> str:
    if not served.challenger:
        return ""
    return f"{served.challenger} " + ("in the shadow" if served.shadow else f"for {served.share:.0%}")


def stop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model that was deployed.")],
    *,
    address: Address = None,
    storage: Storage = None,
    json: Json = False,
) -> Answer:
    """Take a model from a cluster.

    Requests in flight are answered.
    """
    from raymle import hosting

    hosting.stopped(name, address=address, storage=storage or usual_home())
    return Answer({"model": name, "stopped": True}, f"{name} is served no more", json)


def token(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What serve.auth.tokens names.")],
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Whose token; left out: list them.")] = None,
    *,
    days: Annotated[int | None, typer.Option("--days", min=1, help="How long it is good; default: always.")] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the token away.")] = False,
    json: Json = False,
) -> Answer:
    """Make, list or revoke bearer tokens.

    A token is shown once and kept as a hash.
    """
    from raymle.serve import auth

    if name is None:
        known = [(each.name, str(each.created), str(each.expires or "")) for each in auth.listed(file)]
        document = [{"name": each, "created": created, "expires": expires} for each, created, expires in known]
        return Answer(document, table(("token of", "since", "until"), known), json)
    if revoke:
        auth.revoke(file, name)
        return Answer({"name": name, "revoked": True}, f"{name}'s token is no longer good", json)
    expires = datetime.now(UTC) + timedelta(days=days) if days else None
    secret = auth.add(file, name, expires=expires)
    return Answer({"name": name, "token": secret}, secret, json, note="it is shown this once; the file has its hash")

"""Models in service: what is served and how, here for as long as a command runs, or on a cluster that stays."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from raymle import loader, native, references, runtime
from raymle.config import ServeConfig, Spec
from raymle.errors import RaymleError, SecurityError, SetupError, UsageError
from raymle.model import read_contents
from raymle.records import Endpoint
from raymle.serve import change, check, deploy, free_port, history, remove, render, serving, settings
from raymle.serve.history import Event, Model, State
from raymle.serve.ports import is_loopback
from raymle.serve.service import Service
from raymle.store import Store, open_store
from raymle.tracking import registry

CHAMPION, CHALLENGER = "champion", "challenger"
ANSWER_S = 5
"""How long a cluster may take to accept a connection."""


class Rendered(NamedTuple):
    """A service as Ray Serve's configuration, as values and as YAML."""

    service: Service
    document: dict[str, Any]
    text: str


class Asked(NamedTuple):
    """A service, and the storage that its changes come through."""

    service: Service
    store: Store | None


def service_of(model: str, *, storage: str, overrides: tuple[str, ...] = ()) -> Asked:
    """Return a model as it would be served; ``models:/NAME@champion`` follows promotions.

    Args:
        model: MODEL of the command line.
        storage: Where runs and history are.
        overrides: ``serve.KEY=VALUE`` each.

    Raises:
        UsageError: the model cannot be served.
    """
    follows = model.startswith(references.REGISTERED) and model.endswith(f"@{CHAMPION}")
    store = open_store(storage) if follows else None
    since = history.read(store, references.registered_name(model)).last + 1 if store else 0  # before the alias is read
    found = references.model(model, storage)
    config = config_of(found.spec, overrides)
    _check_transforms(found.bundle)
    served = Model(version=found.version, place=place(found.bundle, found.root, store), run_id=found.run_id)
    service = Service(
        name=found.name, model=served, config=config, storage=store.uri if store else None, since=since
    )  # fmt: skip
    return Asked(service, store)


def config_of(spec: Spec | None, overrides: tuple[str, ...]) -> ServeConfig:
    """Return the ``serve`` section of a model's spec, with ``serve.KEY=VALUE`` applied."""
    base = {"name": "x", "data": {"source": "x", "target": "x"}}
    spec = spec or loader.from_mapping(base)
    if spec.serve.capture is not None:
        raise UsageError("serve.capture comes later", hint="leave serve.capture out")
    values = dict(loader.parse_override(text) for text in overrides)
    if strange := next((key for key in values if not key.startswith("serve.")), None):
        raise UsageError(f"{strange!r} is not a key of the section serve", hint="such as serve.replicas.max=4")
    config = loader.override(spec, values).serve if values else spec.serve
    return _located(config, Path(spec.folder))


def _located(config: ServeConfig, folder: Path) -> ServeConfig:
    """Return a configuration whose files are found from every process; relative ones start at the spec's folder."""
    changed: dict[str, Any] = {}
    if config.auth:
        changed["auth"] = config.auth.model_copy(update={"tokens": _file(folder, config.auth.tokens)})
    if config.tls:
        names = {"certificate": config.tls.certificate, "key": config.tls.key}
        changed["tls"] = config.tls.model_copy(update={each: _file(folder, name) for each, name in names.items()})
    return config.model_copy(update=changed)


def _file(folder: Path, name: str) -> str:
    path = (folder / Path(name).expanduser()).resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="`raymle serve token FILE NAME` makes a file of tokens")
    return str(path)


def _check_transforms(bundle: Path) -> None:
    """Refuse a model whose rows pass the user's own functions first: requests hold what comes after them."""
    if read_contents(bundle).transforms:
        raise UsageError(
            "this model has data.transforms, and serving those comes later", hint="use `raymle predict` for files"
        )


def place(bundle: Path, root: Path, store: Store | None) -> str:
    """Make the native form of a bundle, and say where replicas find it: in the storage, or on this machine."""
    made = native.ready(bundle, root)
    if store is None or not made.is_relative_to(store.root):
        return str(made)
    name = str(made.relative_to(store.root))
    store.publish(name)
    return name


@contextmanager
def hosted(asked: Asked) -> Iterator[Endpoint]:
    """Serve on a Ray of our own, or on the one that is at hand, until the block ends.

    Raises:
        SecurityError: it would listen beyond this machine without auth.
        SetupError: the port is taken.
        WorkError: the model did not come up.
    """
    service, store = asked
    config = service.config
    check(config)
    port = free_port(config.host, config.port)
    if runtime.is_at_hand():
        _check_cluster(config)
    with _place_for_haproxy() as folder, runtime.variables(_environment(folder, config)):
        service = service.model_copy(
            update={"config": config.model_copy(update={"port": port}), "metrics": str(folder / "metrics")}
        )
        with (
            runtime.connected(runtime.local("a server runs on Ray Serve")),
            serving(service) as endpoint,
            _noted(store, service, endpoint),
        ):
            yield endpoint


@contextmanager
def _place_for_haproxy() -> Iterator[Path]:
    with runtime.scratch() as folder:
        try:
            yield folder
        finally:
            settings.end(folder)


def _environment(folder: Path, config: ServeConfig) -> dict[str, str]:
    """Return the environment of a Ray of our own; one that runs already has its own."""
    return {} if runtime.is_at_hand() else settings.environment(folder, config)


def rendered(model: str, *, storage: str, overrides: tuple[str, ...] = (), route: str = "/") -> Rendered:
    """Return the configuration of a cluster that serves a model, checked by Ray's own schema."""
    import yaml

    service = service_of(model, storage=storage, overrides=overrides).service
    check(service.config)
    document = render.document(service, route=route)
    render.checked(document)
    return Rendered(service, document, yaml.safe_dump(document, sort_keys=False))


def watched(service: Service, folder: Path) -> list[Path]:
    """Write what Prometheus and Grafana need for a service into a folder; return the files."""
    from raymle.serve import dashboard

    config = service.config
    return dashboard.write(
        folder, service.name, [f"{config.host}:{config.port}"],
        token_file=folder / "token" if config.auth else None, tls=config.tls is not None,
    )  # fmt: skip


def deployed(
    model: str, *, storage: str, overrides: tuple[str, ...] = (), route: str = "/", address: str | None = None
) -> Endpoint:
    """Deploy a model on a running cluster; what serves under its name goes on until the new one is ready.

    Raises:
        SetupError: no Ray answers at the address.
        WorkError: the model did not come up; what was served goes on.
    """
    asked = service_of(model, storage=storage, overrides=overrides)
    _check_cluster(asked.service.config)
    with runtime.connected(_cluster(address)):
        at = deploy(asked.service, route=route)
    if asked.store:
        history.append(asked.store, at.model, _serving(asked.service, at))
    return at


def stopped(name: str, *, address: str | None, storage: str) -> None:
    """Take a model from a running cluster."""
    with runtime.connected(_cluster(address)):
        remove(name)
    store = open_store(storage)
    for url in history.read(store, name).urls:
        if not change.lives(url):
            history.append(store, name, Event(kind="stopped", url=url))


def _check_cluster(config: ServeConfig) -> None:
    """Refuse what only a Ray of our own is started for, rather than leave it out in silence.

    Raises:
        SecurityError: TLS was asked for, or all interfaces without Ray's tokens.
        UsageError: sending again was asked for.
    """
    check(config)
    if config.tls is not None:
        raise SecurityError(
            "serve.tls is for a Ray of our own: on a cluster its proxy was started without the certificate",
            hint="put a load balancer that speaks TLS in front, or use `raymle serve` without RAY_ADDRESS",
        )
    if config.retry:
        raise UsageError(
            "serve.retry is for a Ray of our own: a cluster's proxy has its own settings",
            hint="start its nodes with RAY_SERVE_HAPROXY_RETRY_ON, and leave serve.retry out",
        )
    if not is_loopback(config.host) and loader.environment("RAY_AUTH_MODE") != "token":
        raise SecurityError(
            f"serve.host {config.host} on a Ray without tokens", hint="start the cluster with RAY_AUTH_MODE=token"
        )


def _cluster(address: str | None) -> runtime.Execution:
    found = address or loader.environment("RAY_ADDRESS") or "auto"
    host, colon, port = found.partition(":")
    if colon and port.isdecimal():
        _check_answers(host, int(port))
    return runtime.Execution(kind="ray", address=found, why="a running cluster is meant")


def _check_answers(host: str, port: int) -> None:
    """Refuse an address where nobody listens at once: Ray would wait for minutes."""
    try:
        socket.create_connection((host, port), ANSWER_S).close()
    except OSError as error:
        raise SetupError(
            f"no Ray answers at {host}:{port}: {error}", hint="`ray status` on the head shows its address"
        ) from None


@contextmanager
def _noted(store: Store | None, service: Service, endpoint: Endpoint) -> Iterator[None]:
    """Say in the history that a model is served, and at the end that it is not."""
    if store is None:
        yield
        return
    history.append(store, service.name, _serving(service, endpoint))
    try:
        yield
    finally:
        history.append(store, service.name, Event(kind="stopped", url=endpoint.url))


def _serving(service: Service, endpoint: Endpoint) -> Event:
    return Event(kind="serving", model=service.model, url=endpoint.url, about=service.since)


def changes(asked: Asked) -> Iterator[str]:
    """Yield, one call a step, what changed in a served model since the last one; empty when nothing did.

    A challenger that went by itself loses its alias too.
    """
    service, store = asked
    state = history.read(store, service.name) if store else State()
    while True:
        before, state = state, history.read(store, service.name, state) if store else state
        if store and before.challenger and not state.challenger and state.ended and state.ended.by != history.USER:
            with suppress(RaymleError):  # the registry may be out of reach; `raymle rollback` takes it away then
                registry.move_alias(references.tracking(store), store, service.name, CHALLENGER, None)
        yield _difference(service.name, before, state)


def _difference(name: str, before: State, state: State) -> str:
    if state.ended and state.ended != before.ended:
        version = state.ended.model.version if state.ended.model else ""
        return f"{name} version {version} is out: {state.ended.reason}"
    heard = [each for each in state.answers[len(before.answers) :] if each.kind == "taken" and each.model]
    return "\n".join(f"{name} version {each.model.version} is in replica {each.by}" for each in heard if each.model)

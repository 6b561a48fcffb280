"""A model deployed on a cluster, where it stays when the command has ended."""

import socket
from pathlib import Path
from typing import Any, NamedTuple

from raymle import loader, runtime
from raymle.config import ServeConfig
from raymle.errors import SecurityError, SetupError, UsageError
from raymle.hosting.asked import service_of, serving
from raymle.records import Endpoint
from raymle.serve import change, check, deploy, history, remove, render
from raymle.serve.history import Event
from raymle.serve.ports import is_loopback
from raymle.serve.service import Service
from raymle.store import open_store

ANSWER_S = 5
"""How long a cluster may take to accept a connection."""


class Rendered(NamedTuple):
    """A service as Ray Serve's configuration, as values and as YAML."""

    service: Service
    document: dict[str, Any]
    text: str


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
    check_cluster(asked.service.config)
    with runtime.connected(_cluster(address)):
        at = deploy(asked.service, route=route)
    if asked.store:
        history.append(asked.store, at.model, serving(asked.service, at))
    return at


def stopped(name: str, *, address: str | None, storage: str) -> None:
    """Take a model from a running cluster."""
    with runtime.connected(_cluster(address)):
        remove(name)
    if "://" not in storage and not Path(storage).is_dir():
        return  # a bundle's folder was deployed: it has no history
    store = open_store(storage)
    for url in history.read(store, name).urls:
        if not change.lives(url):
            history.append(store, name, Event(kind="stopped", url=url))


def check_cluster(config: ServeConfig) -> None:
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

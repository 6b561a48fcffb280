"""A service on Ray Serve: for the length of a ``with`` block, or on a cluster that stays.

Whatever is deployed goes the declarative way, as Ray's own ``serve deploy`` does: a new version of it starts beside
the old one, takes over when it is ready, and is dropped when it is not.
"""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from raymle.errors import ArtifactError, ConflictError, WorkError
from raymle.records import Endpoint
from raymle.serve import ports, render, settings
from raymle.serve.service import Service

CONTROLLER = "SERVE_CONTROLLER_ACTOR"
PATIENCE_S, LOOK_S = 10, 0.1
"""How much longer than the loading of a model its deployment may take, and how often it is looked at."""


@contextmanager
def serving(service: Service) -> Iterator[Endpoint]:
    """Serve a model on the Ray that is connected until the block ends; nothing of it is left behind.

    Raises:
        ConflictError: this Ray serves something already.
        WorkError: the model did not come up.
    """
    if _controller_is_there():
        raise ConflictError(
            "this Ray serves something already, and stopping ours would stop that too",
            hint="use cluster.address=local, or `raymle serve deploy`",
        )
    from ray import serve

    try:
        _start(service)
        _apply(render.document(service), service)
        yield endpoint(service)
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]


def endpoint(service: Service, route: str = "/") -> Endpoint:
    """Return what a caller wants to know of a service."""
    return Endpoint(url=ports.url(service.config, route), model=service.name, version=service.model.version)


def deploy(service: Service, *, route: str = "/") -> Endpoint:
    """Deploy a model on the cluster that is connected, beside what else is served there; it stays.

    What was deployed under the same name serves until the new one is ready, and goes on when that fails.

    Raises:
        ConflictError: another model has the route.
        WorkError: the model did not come up.
    """
    _start(service)
    before = _deployed()
    taken = [each["name"] for each in before if each["route_prefix"] == route and each["name"] != service.name]
    if taken:
        raise ConflictError(f"the route {route} is {taken[0]}'s", hint=f"--route /{service.name} is an own one")
    others = [each for each in before if each["name"] != service.name]
    whole = render.document(service, route=route)
    try:
        _apply({**whole, "applications": [*others, *whole["applications"]]}, service)
    except WorkError:
        _client().deploy_apps(render.checked({**whole, "applications": before}))
        raise
    return endpoint(service, route)


def remove(name: str) -> None:
    """Take a model from the cluster that is connected; requests in flight are answered.

    Raises:
        ArtifactError: it is not there.
    """
    if not _controller_is_there() or name not in {each["name"] for each in _deployed()}:
        raise ArtifactError(f"this cluster does not serve {name}", hint="`raymle serve status` shows what is served")
    _client().delete_apps([name])


def _start(service: Service) -> None:
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    config = service.config
    serve.start(proxy_location="HeadOnly", http_options=settings.http(config), logging_config=settings.QUIET)
    at = _client().http_config
    if (at.host, at.port) != (config.host, config.port):
        raise ConflictError(
            f"this cluster's Serve listens at {at.host}:{at.port} already, not at {config.host}:{config.port}",
            hint=f"serve.host={at.host} serve.port={at.port} use it; beyond loopback every model needs serve.auth",
        )


def _controller_is_there() -> bool:
    from ray.util import list_named_actors

    return any(actor["name"] == CONTROLLER for actor in list_named_actors(all_namespaces=True))


def _client() -> Any:
    from ray.serve.context import _get_global_client

    return _get_global_client()


def _deployed() -> list[dict[str, Any]]:
    """Return the configurations of what is served, as they were deployed."""
    found = _client().get_serve_details().get("applications", {}).values()
    return [each["deployed_app_config"] for each in found if each.get("deployed_app_config")]


def _apply(configuration: dict[str, Any], service: Service) -> None:
    _client().deploy_apps(render.checked(configuration))
    until = time.monotonic() + 2 * service.config.load_timeout_s + PATIENCE_S
    while time.monotonic() < until:
        found = _status(service.name)
        if found and found.status == "RUNNING":
            _client().wait_for_proxies_serving(wait_for_applications_running=True)
            return
        if found and found.status in {"DEPLOY_FAILED", "UNHEALTHY"}:
            break
        time.sleep(LOOK_S)
    raise WorkError(
        f"{service.name} did not come up: {_reason(service.name) or 'it took too long'}",
        hint="`raymle predict` loads the same model inline",
    )


def _status(name: str) -> Any:
    from ray import serve

    return serve.status().applications.get(name)


def _reason(name: str) -> str:
    """Return the last line of the traceback of what failed, which is the error's own sentence."""
    found = _status(name)
    if found is None:
        return ""
    told = "\n".join([found.message, *(each.message for each in found.deployments.values())])
    lines = [line.strip() for line in told.splitlines()]
    return next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception)\b", line)), "")

"""A bundle on Ray Serve for the length of a ``with`` block; nothing of it is left behind."""

import asyncio
import ipaddress
import json
import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raymle.config import ServeConfig
from raymle.errors import ConflictError, SecurityError, SetupError, UsageError, WorkError
from raymle.records import Endpoint
from raymle.serve import wire
from raymle.serve.openapi import example
from raymle.serve.wire import Limits

if TYPE_CHECKING:
    from ray.serve import Application

    from raymle.serve.app import Answer, Call
    from raymle.serve.asgi import App

APP = "raymle"
CONTROLLER = "SERVE_CONTROLLER_ACTOR"
REQUEST_S = 30
SETTINGS: dict[str, Any] = {
    "max_ongoing_requests": 32,
    "max_queued_requests": 200,
    "backpressure_config": {"status_code": 503, "retry_after_s": 1},
    "graceful_shutdown_timeout_s": 2 * REQUEST_S,
    "graceful_shutdown_wait_loop_s": 0.5,
    "health_check_period_s": 2,
    "health_check_timeout_s": 5,
    "max_constructor_retry_count": 2,
    "max_surge_percent": 100,
}


@contextmanager
def serving(config: ServeConfig, bundle: Path, *, name: str, version: str) -> Iterator[Endpoint]:
    """Serve a bundle on the Ray that is connected until the block ends.

    Raises:
        SecurityError: it would listen beyond this machine without auth.
        SetupError: the port is taken.
        ConflictError: this Ray serves something already.
        WorkError: the model did not come up.
    """
    check(config)
    _check_transforms(bundle)
    port = free_port(config.host, config.port)
    _check_unused()
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    quiet = {"log_level": "ERROR", "enable_access_log": False}
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": config.host, "port": port, "request_timeout_s": REQUEST_S},
            logging_config=quiet,
        )
        _run(_application(config, bundle, name=name, version=version, logging_config=quiet), name)
        host = f"[{config.host}]" if ":" in config.host else config.host
        yield Endpoint(url=f"http://{host}:{port}", model=name, version=version)
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]


def check(config: ServeConfig) -> None:
    """Refuse what is not safe, or not there yet, before anything starts."""
    later = [key for key in ("auth", "tls", "capture") if getattr(config, key) is not None]
    if later:
        raise UsageError(f"serve.{later[0]} comes later", hint=f"leave serve.{later[0]} out")
    if config.replicas.max > 1:
        raise UsageError(
            f"serve.replicas.max is {config.replicas.max}; more than one replica comes later",
            hint="use 'serve.replicas={min: 1, max: 1}'",
        )
    if not _is_loopback(config.host):
        raise SecurityError(
            f"serve.host {config.host} is reachable from other machines, and there is no auth",
            hint="use serve.host=127.0.0.1, with a reverse proxy or an SSH tunnel in front",
        )


def _check_transforms(bundle: Path) -> None:
    """Refuse a model whose rows pass the user's own functions first: requests hold what comes after them."""
    contents = bundle / "bundle.json"
    if contents.is_file() and json.loads(contents.read_bytes()).get("transforms"):
        raise UsageError(
            "this model has data.transforms, and serving those comes later", hint="use `raymle predict` for files"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def free_port(host: str, port: int) -> int:
    """Return the port if nobody listens there, any free one for 0.

    Raises:
        SetupError: it is taken; by whom, and the next free one.
    """
    found = _bind(host, port)
    if found is not None:
        return found
    following = next((each for each in range(port + 1, min(port + 100, 65536)) if _bind(host, each)), 0)
    raise SetupError(
        f"port {port} on {host} is taken{_holder(port)}",
        hint=f"serve.port={following} is free, or stop the other",
    )


def _bind(host: str, port: int) -> int | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def _holder(port: int) -> str:
    import psutil  # type: ignore[import-untyped]

    try:
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr.port == port and found.pid:
                return f" by {psutil.Process(found.pid).name()} (pid {found.pid})"
    except psutil.Error:  # others' processes may be hidden from us
        return ""
    return ""


def _check_unused() -> None:
    from ray.util import list_named_actors

    if any(actor["name"] == CONTROLLER for actor in list_named_actors(all_namespaces=True)):
        raise ConflictError(
            "this Ray serves something already, and stopping ours would stop that too",
            hint="use cluster.address=local",
        )


def _run(application: "Application", name: str) -> None:
    from ray import serve

    try:
        serve.run(application, name=APP, route_prefix="/")
    except RuntimeError as error:
        raise WorkError(
            f"{name} did not come up: {_reason() or error}", hint="`raymle predict` loads the same bundle inline"
        ) from error


def _reason() -> str:
    """Return the last line of the traceback of the replica that failed, which is the error's own sentence."""
    from ray import serve

    app = serve.status().applications.get(APP)
    told = app.deployments["model"].message if app and "model" in app.deployments else ""
    lines = [line.strip() for line in told.splitlines()]
    return next((line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception)\b", line)), "")


def _application(
    config: ServeConfig, bundle: Path, *, name: str, version: str, logging_config: dict[str, Any]
) -> "Application":
    from ray import serve

    deployment = serve.deployment(
        name="model",
        num_replicas=1,
        ray_actor_options={"num_cpus": 1},
        logging_config=logging_config,
        **SETTINGS,
    )(serve.ingress()(Replica))
    batch = config.batch
    return deployment.bind(str(bundle), name, version, rows=batch.max_size, wait_s=batch.wait_ms / 1000)


class Replica:
    """One process with the model in it; requests that come together are predicted together."""

    def __init__(self, bundle: str, name: str, version: str, *, rows: int, wait_s: float) -> None:
        from ray import serve

        from raymle.model.bundle import load

        self._bundle = load(Path(bundle))
        self._name, self._version, self._rows = name, version, rows
        batched = serve.batch(max_batch_size=rows, batch_wait_timeout_s=wait_s, batch_size_fn=_count)
        self._together = batched(self._predict_all)
        self._warm_up()

    def _warm_up(self) -> None:
        """Predict once before the first request: ready then means that the model works."""
        schema = self._bundle.schema
        row = wire.encode({"rows": [example(schema)]})
        self._bundle.predict(wire.parse(row, schema, Limits()))

    def __serve_build_asgi_app__(self) -> "App":
        """Return the app that Serve puts behind its proxy."""
        from raymle.serve.app import Card, application

        card = Card(self._bundle.schema, self._name, lambda: self._version, self._bundle.transform)
        return application(self._predict, card)

    async def _predict(self, table: pa.Table, _: "Call") -> "Answer":
        from raymle.serve.app import Answer

        if table.num_rows >= self._rows:
            return Answer(await asyncio.to_thread(self._bundle.predict, table), self._version)
        return Answer(await self._together(table), self._version)

    async def _predict_all(self, tables: list[pa.Table]) -> list[np.ndarray]:
        predicted = await asyncio.to_thread(self._bundle.predict, pa.concat_tables(tables).combine_chunks())
        return np.split(predicted, np.cumsum([table.num_rows for table in tables])[:-1])


def _count(tables: list[pa.Table]) -> int:
    return sum(table.num_rows for table in tables)

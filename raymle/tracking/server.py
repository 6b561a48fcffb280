"""`raymle ui`: MLflow's own server, on loopback, with what it should not do switched off."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from raymle.config import TrackingConfig
from raymle.errors import SecurityError, SetupError, UsageError
from raymle.tracking import client

if TYPE_CHECKING:
    from raymle.store import Store

FOREVER_S = 1e9
LOOPBACK = ("127.0.0.1", "localhost")


def ui(config: TrackingConfig, store: "Store", *, host: str = "127.0.0.1", port: int = 5000) -> None:
    """Serve MLflow's pages over the storage's runs until Ctrl-C."""
    with running(config, store, host=host, port=port) as process:
        process.wait(timeout=FOREVER_S)  # with a timeout it polls; a plain wait misses Ctrl-C once MLflow is imported
        if process.returncode:
            raise SetupError(f"mlflow server ended with exit code {process.returncode}")


@contextmanager
def running(
    config: TrackingConfig, store: "Store", *, host: str = "127.0.0.1", port: int = 5000
) -> Iterator["subprocess.Popen[bytes]"]:
    """Hold an MLflow server for the block; it leaves no process.

    Raises:
        SecurityError: the host is not loopback; MLflow's server asks nobody for a password.
        SetupError: the port is in use.
        UsageError: runs are recorded at a server already.
    """
    uri = client.address(config, store)
    if client.is_server(uri):
        raise UsageError(f"runs are recorded at {client.redacted(uri)}", hint="open that address in a browser")
    if host not in LOOPBACK:
        raise SecurityError(
            f"MLflow's server has no password and would listen on {host}",
            hint="keep 127.0.0.1 and reach it through an ssh tunnel or a proxy with authentication",
        )
    _check_port(host, port)
    if uri.startswith(client.SQLITE):
        client.create_tables(Path(uri.removeprefix(client.SQLITE)))
    process = subprocess.Popen(  # noqa: S603
        command(store, uri, host=host, port=port), env=settings(uri), start_new_session=True
    )
    try:
        yield process
    finally:
        _end(process)


def command(store: "Store", uri: str, *, host: str, port: int) -> list[str]:
    """Return the command line; the address goes through the environment, it may hold a password."""
    names = ("localhost:*", "127.0.0.1:*")  # any port: an ssh tunnel may end at another one
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--allowed-hosts", ",".join(["localhost", "127.0.0.1", *names])),
        *("--artifacts-destination", str(client.artifacts(uri, store))),
    ]


def settings(uri: str) -> dict[str, str]:
    """Return the server's environment: ours, with the store in and code execution off."""
    return {
        **os.environ,  # noqa: TID251  a child's environment is a copy, nothing is decided by it
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SetupError(f"port {port} on {host}: {error.strerror}", hint="choose another with --port") from error


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server and the workers it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                continue

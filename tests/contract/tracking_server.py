"""A real MLflow server on loopback, over a database that was migrated before."""

import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raymle.config import TrackingConfig
from raymle.store import open_store
from raymle.tracking import server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(ready, *, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Hold what `raymle ui` runs, and return its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    store = open_store(str(folder))
    config = TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db")
    with server.running(config, store, host="127.0.0.1", port=port) as process:
        wait_until(lambda: answers(url) or process.poll() is not None, seconds=120, what="the start of mlflow server")
        assert process.poll() is None
        yield url

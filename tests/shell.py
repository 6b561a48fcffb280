"""A folder to type `raymle` in, as a user does: each command is a process of its own."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STREAM = "application/vnd.apache.arrow.stream"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """A folder to type in."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}

    def __call__(self, *words: str, code: int = 0) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "raymle", *words],
            capture_output=True, text=True, cwd=self.folder, env=self.environment, timeout=400, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"raymle {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def json(self, *words: str, code: int = 0) -> Any:
        return self(*words, "--json", code=code).json

    @contextmanager
    def serving(self, model: str) -> Iterator[str]:
        """Serve a model on a free port while the block runs, and give its URL."""
        with subprocess.Popen(
            [sys.executable, "-m", "raymle", "serve", model, "--port", "0", "--json"],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment,
        ) as server:  # fmt: skip
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line, server.communicate()[1][-2000:]
            try:
                yield json.loads(line)["url"]
            finally:
                server.send_signal(signal.SIGINT)
                server.communicate(timeout=60)


def asked(url: str, body: Any, kind: str = "application/json") -> tuple[int, Any]:
    """Send a body or a document to /predict, and return the status with what is answered."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/predict", sent, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            content = response.read()
            return response.status, content if kind == STREAM else json.loads(content)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)

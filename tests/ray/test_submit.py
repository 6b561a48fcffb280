"""Jobs on a real head of its own, started as `ray start --head` starts it, ended by its own process id."""

import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raymle.cloud.submit import submit
from raymle.errors import SetupError, WorkError

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
RUN = """
import sys
import raymle

experiment = raymle.Experiment.load("raymle.yaml", *sys.argv[1:])
print("run", experiment.train().id, flush=True)
"""
SPEC = """
name: submitted
data: {source: rows.parquet, target: late}
model: {type: linear}
train: {epochs: 1}
"""


@dataclass
class Head:
    address: str
    environment: dict[str, str]
    process: subprocess.Popen


def free_ports(count: int) -> list[int]:
    """Ports below those that connections take: the head binds them seconds later."""
    found = [port for port in random.sample(range(20_000, 30_000), 20 * count) if is_free(port)]
    return found[:count]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@contextmanager
def started_head() -> Iterator[Head]:
    """Start a head in token mode with its own ports and folder; end it and everything it started."""
    folder = Path(tempfile.mkdtemp(prefix="head-", dir="/tmp"))
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "PATH": f"{BIN}:{os.environ['PATH']}"}
    port, dashboard, agent, client, metrics = free_ports(5)
    command = [
        str(BIN / "ray"), "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=2",
        f"--port={port}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1", f"--temp-dir={folder / 'ray'}",
        f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}",
        f"--metrics-export-port={metrics}", "--disable-usage-stats",
    ]  # fmt: skip
    log = (folder / "head.log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    family: list[psutil.Process] = []
    try:
        head = Head(f"http://127.0.0.1:{dashboard}", environment, process)
        wait_until_up(head, token.read_text(), folder / "head.log")
        family = psutil.Process(process.pid).children(recursive=True)
        yield head
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        _, left = psutil.wait_procs(family, timeout=30)
        for each in left:
            each.kill()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def wait_until_up(head: Head, token: str, log: Path) -> None:
    deadline = time.monotonic() + 90
    request = urllib.request.Request(f"{head.address}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    while time.monotonic() < deadline:
        assert head.process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with started_head() as head, pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
            patch.setenv(name, head.environment[name])
        reread_auth()
        yield head
    reread_auth()


def reread_auth() -> None:
    """Ray reads its auth mode when it is imported; this process has read it long ago."""
    from ray._raylet import AuthenticationTokenLoader, Config

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@pytest.fixture
def job(tmp_path) -> Path:
    folder = tmp_path / "job"
    folder.mkdir()
    table = pa.table({"amount": [float(each % 7) for each in range(300)], "late": ["no", "yes", "no"] * 100})
    pq.write_table(table, folder / "rows.parquet")
    (folder / "raymle.yaml").write_text(SPEC)
    (folder / "run.py").write_text(RUN)
    (folder / "show.py").write_text("import os, sys; print(sorted(os.listdir('.')), sys.argv[1:])")
    (folder / ".env").write_text("TOKEN=s3cret")
    return folder


def test_a_submitted_folder_holds_what_the_preview_said_and_its_output_is_followed(head, job):
    shown: list[str] = []
    done = submit(head.address, ["python", "show.py", "a b; rm *"], job, follow=shown.append)
    assert done.status == "SUCCEEDED"
    assert "['raymle.yaml', 'rows.parquet', 'run.py', 'show.py'] ['a b; rm *']" in "".join(shown)


def test_a_key_is_one_job_and_a_failed_job_is_an_error(head, job):
    first = submit(head.address, ["python", "-c", "raise SystemExit(3)"], job, key="night")
    assert submit(head.address, ["python", "-c", "raise SystemExit(3)"], job, key="night").id == first.id
    with pytest.raises(WorkError, match=f"{first.id} failed"):
        submit(head.address, ["python", "-c", "raise SystemExit(3)"], job, key="night", follow=lambda text: None)


def test_without_the_token_nothing_is_submitted(head, job):
    environment = {**head.environment, "RAY_AUTH_MODE": "disabled"}
    code = (
        "from raymle.cloud.submit import submit\nfrom raymle.errors import SetupError\n"
        f"try:\n    submit({head.address!r}, ['true'], {str(job)!r})\n"
        "except SetupError as error:\n    print('refused:', error)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], check=False, env=environment, capture_output=True, text=True, timeout=60
    )
    assert answer.stdout.startswith("refused: no Jobs API answers"), answer.stderr


def test_a_relative_storage_in_a_job_is_refused_before_anything_runs(head, job):
    shown: list[str] = []
    with pytest.raises(WorkError, match="failed"):
        submit(head.address, ["python", "run.py"], job, follow=shown.append)
    assert "storage 'runs' is relative" in "".join(shown)


def test_the_flights_job_runs_on_a_head_and_its_run_is_there_after_the_head_is_gone(tmp_path):
    storage = tmp_path / "home"
    with started_head() as own:
        command = ["ray", "job", "submit", f"--address={own.address}", "--working-dir", ".", "--"]
        done = subprocess.run(
            [*command, "python", "jobs/flights/run.py", f"--storage={storage}", "--rows=5000", "train.epochs=1"],
            check=False, cwd=ROOT, env=own.environment, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    runs = subprocess.run(
        [str(BIN / "raymle"), "runs", "ls", "--storage", str(storage), "--json"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert runs.returncode == 0, runs.stderr
    assert json.loads(runs.stdout)


def test_no_head_is_a_sentence_with_what_to_check(job):
    port = free_ports(1)[0]
    with pytest.raises(SetupError, match="no Jobs API answers"):
        submit(f"http://127.0.0.1:{port}", ["true"], job)

"""The metrics of a node's processes are one sum, also after a kill, and Debian's Prometheus reads and draws them."""

import json
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import small_metrics
from small_metrics import SCHEMA, TRANSFORM, rows, samples
from tracking_server import free_port, wait_until

from raymle.data.texts import Text
from raymle.records import Column
from raymle.serve import dashboard
from raymle.serve.metrics import CONTENT_TYPE, Metrics
from raymle.serve.series import Node

WITH_TEXT = SCHEMA.model_copy(update={"columns": (*SCHEMA.columns, Column(name="note", type="text", role="feature"))})
READS_TEXT = replace(TRANSFORM, texts=(Text(column="note", length=4, vocabulary=256),))
REQUESTS = ("raymle_requests_total", "status=200", "version=7")


@contextmanager
def replica(folder):
    """Run a process that has counted ten requests, and end it by its id."""
    command = [sys.executable, small_metrics.__file__, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "counted\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def read(folder):
    return samples(Node(folder, "here").text())


def test_two_processes_are_summed_and_a_killed_one_stays_in_the_counters_only(tmp_path):
    with replica(tmp_path) as first, replica(tmp_path):
        both = read(tmp_path)
        assert both[REQUESTS] == 20
        assert both["raymle_request_seconds_count", "version=7"] == 20
        assert both["raymle_prediction_sum", "version=7"] == 1.5
        assert (both["raymle_queue_rows",], both["raymle_replicas",]) == (10, 2)
        assert both["raymle_model_info", "runtime=onnx", "task=classification", "version=7"] == 1
        first.kill()
        first.wait(timeout=60)
        one = read(tmp_path)
        assert one[REQUESTS] == 20
        assert one["raymle_request_seconds_count", "version=7"] == 20
        assert (one["raymle_queue_rows",], one["raymle_replicas",]) == (5, 1)
    none = read(tmp_path)
    assert none[REQUESTS] == 20
    assert ("raymle_replicas",) not in none


def test_who_comes_after_a_dead_process_counts_on_in_its_files(tmp_path):
    for number in (1, 2, 3):
        with replica(tmp_path):
            found = read(tmp_path)
            assert found[REQUESTS] == 10 * number
            assert (found["raymle_queue_rows",], found["raymle_replicas",]) == (5, 1)
    assert len(list(tmp_path.glob("counter_*.db"))) == 1


def test_a_process_that_ends_well_leaves_its_counts(tmp_path):
    with replica(tmp_path) as process:
        process.communicate("", timeout=60)
        assert process.returncode == 0
        assert read(tmp_path)[REQUESTS] == 10


class Handler(BaseHTTPRequestHandler):
    """Serves the metrics to whoever has the token; a request and a batch are counted before each answer."""

    def do_GET(self):
        if self.headers["Authorization"] != "Bearer secret" or self.path != "/metrics":
            self.send_error(401)
            return
        metrics = self.server.metrics
        metrics.request("7", 200, 0.02, 1)
        metrics.request("7", 500, 0.02, 1)
        metrics.batch("7", 2, 0.004)
        asked = rows(amount=(99.0, None), plan=("gold",)).append_column("note", pa.array([" ", "late again"]))
        metrics.served("7", asked, np.array([[0.2, 0.8], [0.6, 0.4]]))
        metrics.challenger("canary", "8")
        text = metrics.text()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@contextmanager
def served(folder):
    """Serve metrics on loopback and return where."""
    with Metrics(folder, "churn", WITH_TEXT, READS_TEXT) as metrics:
        metrics.loaded("7", "onnx")
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.metrics = metrics
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(timeout=60)
            server.server_close()


@contextmanager
def prometheus(config: Path, folder: Path):
    """Run Debian's Prometheus on a port and a folder of its own, and return its address."""
    port = free_port()
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}",
               f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def ask(url, path, **query):
    """Return what Prometheus answers, or nothing while it is not up."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=5) as answer:
            return json.load(answer)["data"]
    except ConnectionError:
        return {}
    except urllib.error.URLError as error:
        if isinstance(error, urllib.error.HTTPError) and error.code != 503:
            raise AssertionError(error.read().decode()) from error
        return {}


@pytest.mark.skipif(not shutil.which("prometheus"), reason="Debian's prometheus is not installed")
def test_prometheus_scrapes_with_the_token_and_draws_every_line_of_the_dashboard(tmp_path):
    (tmp_path / "token").write_text("secret")
    with served(tmp_path / "metrics") as target:
        config, *_ = dashboard.write(tmp_path / "out", "churn", [target], token_file=tmp_path / "token")
        config.write_text(config.read_text().replace("15s", "1s"))
        with prometheus(config, tmp_path / "data") as url:

            def result(expr):
                return ask(url, "query", query=expr).get("result")

            wait_until(lambda: result(dashboard.grafana("churn")["panels"][0]["targets"][0]["expr"]),
                       seconds=60, what="the second scrape")  # fmt: skip
            (sample,) = result('raymle_requests_total{status="200"}')
            assert (sample["metric"]["version"], sample["metric"]["job"]) == ("7", "raymle")
            assert float(sample["value"][1]) >= 2
            lines = {target["expr"] for panel in dashboard.grafana("churn")["panels"] for target in panel["targets"]}
            assert [expr for expr in lines if not result(expr)] == []
            wait_until(lambda: alerts(url).get("RaymleErrors") == "pending", seconds=60, what="the alert")
            assert alerts(url)["RaymleNoReplica"] == "inactive"


def alerts(url):
    """Return the state of each alert, all of them evaluated without an error."""
    groups = ask(url, "rules").get("groups", [])
    found = [rule for group in groups for rule in group["rules"]]
    assert {rule["health"] for rule in found} <= {"ok", "unknown"}, found
    return {rule["name"]: rule["state"] for rule in found}

"""A real Ray Serve on a Ray of its own: what a client, an operator and the next command see."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raymle import hosting, native, runtime
from raymle.config import DataConfig, ModelConfig, ServeConfig, SplitConfig
from raymle.data import prepare
from raymle.data.shards import load_transform
from raymle.errors import ConflictError, DataError, WorkError
from raymle.model.build import build
from raymle.model.bundle import Contents, load, save
from raymle.predict import predict
from raymle.serve.history import Model
from raymle.serve.service import Service
from raymle.store import open_store

OWN = runtime.Execution(kind="ray", address="local", why="a test")
ANY_PORT = ServeConfig(port=0)


def rows(count: int) -> pa.Table:
    draw = np.random.default_rng(0)
    plans = draw.choice(["basic", "pro"], count).tolist()
    return pa.table({"id": [f"c{each}" for each in range(count)], "amount": draw.normal(5, 2, count), "plan": plans})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """A linear model with weights that nobody trained."""
    folder = tmp_path_factory.mktemp("model")
    table = rows(200).append_column("churned", pa.array(["no", "yes"] * 100))
    data = DataConfig(source="none", target="churned", key=("id",))
    splits = prepare(data, SplitConfig(), open_store(str(folder)), folder=str(folder), source=table)
    transform, schema, model = load_transform(splits), splits.data_schema, ModelConfig(type="linear")
    inputs = transform.inputs
    contents = Contents(data_schema=schema, model=model, inputs=inputs, outputs=2)
    return save(folder / "bundle", contents, transform=transform, network=build(model, inputs, 2))


@pytest.fixture(scope="module")
def cluster():
    with runtime.connected(OWN):
        yield


def post(url: str, body: bytes, content_type: str = "application/json"):
    request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response), dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), dict(error.headers)


def is_open(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rsplit(":", 1)[1]))) == 0


def asked(bundle: Path, version: str = "7") -> hosting.Asked:
    model = Model(version=version, place=str(native.ready(bundle, bundle.parent)))
    return hosting.Asked(Service(name="churn", model=model, config=ANY_PORT), None)


def serve_actors() -> list[str]:
    from ray.util import list_named_actors

    return [each["name"] for each in list_named_actors(all_namespaces=True) if "SERVE" in each["name"]]


def test_a_served_model_answers_as_the_bundle_does(bundle):
    sent = rows(40).drop(["id"]).to_pylist()
    expected = load(bundle).predict(rows(40))[:, 1]
    with hosting.hosted(asked(bundle)) as endpoint:
        with urllib.request.urlopen(f"{endpoint.url}/health/ready", timeout=10) as response:
            assert json.load(response) == {"status": "ready", "model": "churn", "version": "7"}
            assert len(response.headers.get_all("X-Request-Id")) == 1
        with urllib.request.urlopen(f"{endpoint.url}/openapi.json", timeout=10) as response:
            assert json.load(response)["components"]["schemas"]["Row"]["required"] == ["amount", "plan"]

        def ask(number: int) -> float:
            status, answer, _ = post(endpoint.url, json.dumps({"rows": [sent[number]]}).encode())
            assert status == 200, answer
            return answer["predictions"][0]["probabilities"]["yes"]

        with ThreadPoolExecutor(16) as pool:
            np.testing.assert_allclose(list(pool.map(ask, range(40))), expected, rtol=1e-5)
        status, answer, headers = post(endpoint.url, json.dumps({"rows": sent * 5}).encode())
        assert status == 200
        assert len(answer["predictions"]) == 200
        assert headers["x-model-version"] == "7"

        hostile = {b"": 400, b"[" * 100_000: 400, b'{"rows": []}': 422, b'{"rows": [{"amount": 1e999}]}': 422,
                   b"x" * (9 * 2**20): 413}  # fmt: skip
        assert {body: post(endpoint.url, body)[0] for body in hostile} == hostile
        assert post(endpoint.url, b"x" * 2**21, "text/plain")[0] == 415
        assert ask(0) == pytest.approx(expected[0], rel=1e-5)
        with urllib.request.urlopen(f"{endpoint.url}/metrics", timeout=10) as response:
            assert 'raymle_requests_total{model="churn"' in response.read().decode()

        with pytest.raises(ConflictError, match="serves something already"), hosting.hosted(asked(bundle, "8")):
            pass
        assert is_open(endpoint.url)
    assert not is_open(endpoint.url)


def test_a_bundle_that_does_not_load_is_one_sentence_and_leaves_nothing(cluster, tmp_path):
    (tmp_path / "bundle").mkdir()
    model = Model(version="7", place=str(tmp_path / "bundle"))
    broken = hosting.Asked(Service(name="churn", model=model, config=ANY_PORT), None)
    with pytest.raises(WorkError, match=r"did not come up.*is not whole"), hosting.hosted(broken):
        pass
    assert not serve_actors()


def test_batch_prediction_on_ray_writes_what_inline_writes(cluster, bundle, tmp_path):
    for part in range(4):
        pq.write_table(rows(400).slice(part * 100, 100), tmp_path / f"part-{part}.parquet")
    source = str(tmp_path / "part-*.parquet")
    predict(bundle, source, tmp_path / "inline.parquet")
    result = predict(bundle, source, tmp_path / "ray.parquet", on_ray=True)
    assert result.rows == 400
    assert pq.read_table(tmp_path / "ray.parquet").equals(pq.read_table(tmp_path / "inline.parquet"))


def test_a_bad_file_on_ray_is_the_same_error_as_inline(cluster, bundle, tmp_path):
    pq.write_table(rows(10), tmp_path / "1.parquet")
    pq.write_table(rows(10).drop(["amount"]).append_column("amount", pa.array(["x"] * 10)), tmp_path / "2.parquet")
    with pytest.raises(DataError, match="amount") as inline:
        predict(bundle, str(tmp_path / "[12].parquet"), tmp_path / "out.parquet")
    with pytest.raises(DataError) as spread:
        predict(bundle, str(tmp_path / "[12].parquet"), tmp_path / "out.parquet", on_ray=True)
    assert str(spread.value) == str(inline.value)


def listening(family):
    """The ports on which these processes listen, of those that still live (Ray ends idle workers)."""
    ports = set()
    for member in family:
        with suppress(psutil.NoSuchProcess):
            ports |= {each.laddr.port for each in member.net_connections("tcp") if not each.raddr}
    return ports


def test_ctrl_c_leaves_no_process_and_no_open_port(bundle):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    words = [sys.executable, "-m", "raymle", "serve", str(bundle), "serve.port=0"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    url = server.stdout.readline().strip()
    family = psutil.Process(server.pid).children(recursive=True)
    assert len(family) > 2
    assert is_open(url)
    assert not listening(family) & {8404, 9101}  # what HAProxy shows to everybody by default
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=90)
    assert server.returncode == 130
    _, left = psutil.wait_procs(family, timeout=20)
    assert left == []
    assert not is_open(url)

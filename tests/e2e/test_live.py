"""A served champion under load, changed by commands as they are typed: no request is lost, no bad version answers."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter

import load
import pytest
from test_cli import ROOT, Shell

from raymle import api

ROWS = 8_000
SPEC = """
name: flights
data: {source: flights.parquet, target: late, time: time_hour, drop: [tailnum, flight]}
train: {epochs: 3}
promote: {model: flights, require: ["roc_auc >= 0.4"], min_fresh_rows: 10}
serve: {port: 0, replicas: {min: 2, max: 2}, load_timeout_s: 15, guard: {min_requests: 1000}}
"""
ROW = {
    "month": 1, "day": 1, "dep_time": 517, "sched_dep_time": 515, "dep_delay": 2, "sched_arr_time": 819,
    "carrier": "UA", "origin": "EWR", "dest": "IAH", "distance": 1400, "hour": 5, "time_hour": "2013-01-01T05:00:00Z",
}  # fmt: skip
BAD = ("raises", "hangs", "nan")


@pytest.fixture(scope="module")
def raymle(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("live")
    subprocess.run(
        [sys.executable, str(ROOT / "jobs/flights/data.py"), str(folder / "flights.parquet"), "--rows", str(ROWS)],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "raymle.yaml").write_text(SPEC)
    shutil.copy(ROOT / "benchmarks/peers/breaks.py", folder)
    return Shell(folder)


@pytest.fixture(scope="module")
def runs(raymle: Shell) -> dict[str, str]:
    """A weak run that is champion, a better one, and some that break where they are served; all scored at once."""
    spec, flag = raymle.folder / "raymle.yaml", raymle.folder / "flag"

    def train(*overrides: str) -> api.Run:
        return api.Experiment.load(spec, *overrides).train()

    made = {"weak": train("model={type: linear}", "train.epochs=1")}
    made["good"] = train("model={type: mlp, params: {hidden: [64, 32]}}", "train.epochs=12")
    for kind in BAD:
        made[kind] = train(f"model={{type: 'breaks:make', params: {{kind: {kind}, flag: {flag}}}}}")
    found = {name: run.id for name, run in made.items()}
    api.score(list(found.values()), storage=str(raymle.folder / "runs"))
    assert made["weak"].promote().passed
    flag.touch()
    return found


@pytest.fixture(scope="module")
def url(raymle: Shell, runs: dict[str, str]):
    """A server of the champion, for all tests here."""
    server = subprocess.Popen(
        [sys.executable, "-m", "raymle", "serve", "models:/flights@champion"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=raymle.folder,
    )  # fmt: skip
    yield server.stdout.readline().strip()
    server.terminate()
    _, told = server.communicate(timeout=60)
    assert "version 2 is in replica" in told or "version 1 is in replica" in told


def calls(url: str, key: str = "") -> load.Call:
    headers = load.JSON | ({"X-Sticky-Key": key} if key else {})
    return load.Call(f"{url}/predict", json.dumps({"rows": [ROW]}).encode(), headers)


def shadowed(url: str, version: str) -> float:
    """Return how many requests were compared with a version in the shadow."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    found = [line for line in lines if 'event="shadow"' in line and f'version="{version}"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def status(raymle: Shell) -> dict:
    return raymle("serve", "status", "flights", "--json").json[0]


@pytest.mark.parametrize("kind", BAD)
def test_a_version_that_breaks_is_refused_and_answers_nobody(raymle, runs, url, kind):
    with load.running(calls(url), rate=20) as answers:
        told = raymle("promote", runs[kind], code=4).err
    found = load.summary(answers)
    assert found.failed == found.refused == 0
    assert set(found.versions) == {"1"}
    assert {"raises": "does not load", "hangs": "within 15 s", "nan": "golden"}[kind] in told
    assert status(raymle)["champion"] == "1"


def test_a_plan_starts_nothing_and_says_what_would_follow(raymle, runs):
    plan = raymle("serve", "models:/flights@champion", "--plan", "--json").json
    assert "follow promotions" in plan["steps"][-1]
    assert "this version only" in raymle("serve", runs["good"], "--plan").out


def test_an_upgrade_and_its_way_back_lose_no_request(raymle, runs, url):
    with load.running(calls(url), rate=20) as answers:
        assert raymle("promote", runs["good"], "--json").json["alias"] == "champion"
        better = status(raymle)["champion"]
        assert raymle("rollback", "flights", "--json").json["version"] == "1"
    found = load.summary(answers)
    assert found.failed == found.refused == 0
    assert set(found.versions) == {"1", better}
    assert answers[-1].version == "1"


def test_a_canary_answers_its_share_and_each_key_always_the_same(raymle, runs, url):
    version = raymle("promote", runs["good"], "--canary", "50", "--json").json["version"]
    seen = {
        key: {each.version for each in load.flow(calls(url, key), rate=50, seconds=0.2)} for key in "abcdefghijklmnop"
    }
    assert all(len(versions) == 1 for versions in seen.values())
    assert set(Counter(next(iter(each)) for each in seen.values())) == {"1", version}
    assert status(raymle)["share"] == 0.5
    raymle("rollback", "flights")
    assert {each.version for each in load.flow(calls(url), rate=50, seconds=1)} == {"1"}
    assert status(raymle)["ended"] == "rolled back"


def test_a_shadow_is_compared_and_answers_nobody(raymle, runs, url):
    version = raymle("promote", runs["good"], "--shadow", "--json").json["version"]
    assert {each.version for each in load.flow(calls(url), rate=50, seconds=1)} == {"1"}
    until = time.monotonic() + 15
    while (compared := shadowed(url, version)) < 20 and time.monotonic() < until:  # after the answer, some are left out
        time.sleep(0.2)
    assert compared >= 20
    raymle("rollback", "flights")

"""MLflow down, slow or lossy: the run goes on, ends well, and everything arrives once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from raymle import tracking
from raymle.config import TrackingConfig
from raymle.errors import SetupError
from raymle.store import commit, draft_folder, open_store
from raymle.tracking import journal

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "contract")]
from fault_proxy import FaultProxy  # noqa: E402
from tracking_server import mlflow_server, wait_until  # noqa: E402

STEPS = 40
SLOWEST_CALL_S = 1.0


@pytest.fixture(scope="session")
def upstream(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def proxy(upstream):
    proxy = FaultProxy(int(upstream.rsplit(":", 1)[1]))
    yield proxy
    proxy.close()


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "storage"))


@pytest.fixture
def experiment(tmp_path):
    return f"{tmp_path.parent.name}-{tmp_path.name}"


def train(store, config, experiment, *, between=lambda step: None):
    """Drive a run as a training loop would; returns its id and the slowest call in seconds."""
    slowest = 0.0
    run = tracking.start(config, store, experiment=experiment)
    run.params({"depth": 3})
    for step in range(STEPS):
        began = time.perf_counter()
        run.metrics({"loss": 1.0 / (step + 1)}, step=step)
        slowest = max(slowest, time.perf_counter() - began)
        between(step)
    draft = draft_folder(store.root)
    (draft / "weights.safetensors").write_text("weights")
    run.model(commit(draft, store.root / "runs" / run.id / "bundle"), name="m", signature={})
    run.finish("finished")
    return run.id, slowest


def assert_whole(upstream, run_id, experiment, status="FINISHED"):
    mlflow = MlflowClient(upstream)
    found = mlflow.get_experiment_by_name(experiment)
    (back,) = mlflow.search_runs([found.experiment_id], f"tags.`raymle.run_id` = '{run_id}'")
    history = mlflow.get_metric_history(back.info.run_id, "loss")
    assert sorted(item.step for item in history) == list(range(STEPS))
    assert back.data.params == {"depth": "3"}
    assert back.info.status == status
    (model,) = mlflow.search_logged_models([found.experiment_id])
    assert model.status == "READY"


def test_mlflow_is_down_all_the_time_and_the_run_is_sent_later(proxy, upstream, store, experiment, capsys):
    config = TrackingConfig(uri=proxy.url)
    proxy.set("drop")
    run_id, slowest = train(store, config, experiment)
    assert slowest < SLOWEST_CALL_S
    assert "saved locally; sent with the next raymle command" in capsys.readouterr().err
    with pytest.raises(SetupError, match="left unsent"):
        tracking.send_pending(config, store)
    proxy.set("pass")
    assert tracking.send_pending(config, store) == 1
    assert_whole(upstream, run_id, experiment)
    assert tracking.send_pending(config, store) == 0


def test_the_next_run_sends_what_an_earlier_one_left(proxy, upstream, store, experiment):
    config = TrackingConfig(uri=proxy.url)
    proxy.set("drop")
    earlier, _ = train(store, config, experiment)
    proxy.set("pass")
    train(store, config, f"{experiment}-next")
    assert_whole(upstream, earlier, experiment)


def test_mlflow_is_down_at_the_start_and_comes_back(proxy, upstream, store, experiment, capsys):
    proxy.set("drop")

    def repair(step):
        if step == STEPS // 2:
            wait_until(lambda: proxy.hits > 0, seconds=60, what="a dropped connection")
            proxy.set("pass")

    run_id, slowest = train(store, TrackingConfig(uri=proxy.url), experiment, between=repair)
    assert slowest < SLOWEST_CALL_S
    assert not capsys.readouterr().err
    assert_whole(upstream, run_id, experiment)


def test_mlflow_goes_away_in_the_middle_and_comes_back(proxy, upstream, store, experiment, capsys):
    def break_and_repair(step):
        if step == STEPS // 3:
            wait_until(lambda: proxy.count > 0, seconds=60, what="the first connection")
            proxy.set("drop")
        if step == 2 * STEPS // 3:
            wait_until(lambda: proxy.hits > 0, seconds=60, what="a dropped connection")
            proxy.set("pass")

    run_id, _ = train(store, TrackingConfig(uri=proxy.url), experiment, between=break_and_repair)
    assert not capsys.readouterr().err
    assert_whole(upstream, run_id, experiment)


def test_mlflow_goes_away_at_the_end(proxy, upstream, store, experiment, capsys):
    config = TrackingConfig(uri=proxy.url)

    def break_late(step):
        if step == STEPS - 1:
            wait_until(lambda: list((store.root / "journals").glob("*.mlflow.json")), seconds=60, what="sending")
            proxy.set("drop")

    run_id, _ = train(store, config, experiment, between=break_late)
    assert "saved locally" in capsys.readouterr().err
    proxy.set("pass")
    tracking.send_pending(config, store)
    assert_whole(upstream, run_id, experiment)


@pytest.mark.parametrize("every", [2, 3])
@pytest.mark.parametrize("mode", ["busy", "lose"])
def test_faulty_answers_lose_nothing_and_repeat_nothing(proxy, upstream, store, experiment, mode, every):
    proxy.set(mode, every=every)
    config = TrackingConfig(uri=proxy.url)
    run_id, _ = train(store, config, experiment)
    assert proxy.hits > 0
    proxy.set("pass")
    tracking.send_pending(config, store)
    assert_whole(upstream, run_id, experiment)


def test_a_slow_mlflow_does_not_slow_a_step(proxy, upstream, store, experiment):
    proxy.set("slow", seconds=0.7)
    config = TrackingConfig(uri=proxy.url)
    run_id, slowest = train(store, config, experiment)
    assert slowest < SLOWEST_CALL_S
    proxy.set("pass")
    tracking.send_pending(config, store)
    assert_whole(upstream, run_id, experiment)


def test_an_mlflow_that_never_answers_ends_within_the_flush_time(proxy, upstream, store, experiment, capsys):
    proxy.set("stall")
    config = TrackingConfig(uri=proxy.url)
    began = time.monotonic()
    run_id, slowest = train(store, config, experiment)
    assert time.monotonic() - began < 70
    assert slowest < SLOWEST_CALL_S
    assert "saved locally" in capsys.readouterr().err
    proxy.set("pass")
    tracking.send_pending(config, store)
    assert_whole(upstream, run_id, experiment)


KILLED = """
import os, signal, sys, time
from raymle import tracking
from raymle.tracking import sent
from raymle.config import TrackingConfig
from raymle.store import open_store
run = tracking.start(TrackingConfig(uri=sys.argv[2]), open_store(sys.argv[1]), experiment=sys.argv[3])
run.metrics({"loss": 1.0})
print(run.id, flush=True)
path = sent.journals(open_store(sys.argv[1]).root) / f"{run.id}.jsonl"
while sys.argv[4] == "sent" and sent.load(path, sys.argv[2]).offset < path.stat().st_size:
    time.sleep(0.05)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("when", ["at once", "sent"])
def test_a_killed_run_keeps_its_records_and_is_shown_as_killed(upstream, store, experiment, when):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(store.root), upstream, experiment, when],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    run_id = done.stdout.strip()
    mlflow = MlflowClient(upstream)
    config = TrackingConfig(uri=upstream)

    def is_killed():
        tracking.send_pending(config, store)
        found = mlflow.get_experiment_by_name(experiment)
        runs = found and mlflow.search_runs([found.experiment_id], f"tags.`raymle.run_id` = '{run_id}'")
        return bool(runs) and runs[0].info.status == "KILLED" and runs[0].data.metrics["loss"] == 1.0

    wait_until(is_killed, seconds=60, what="the end of the killed run")


def test_a_killed_sender_costs_nothing(proxy, upstream, store, experiment):
    config = TrackingConfig(uri=proxy.url)
    run = tracking.start(config, store, experiment=experiment)
    run.params({"depth": 3})
    os.kill(run._sender._process.pid, signal.SIGKILL)
    for step in range(STEPS):
        run.metrics({"loss": 1.0}, step=step)
    draft = draft_folder(store.root)
    (draft / "weights.safetensors").write_text("weights")
    run.model(commit(draft, store.root / "runs" / run.id / "bundle"), name="m", signature={})
    run.finish("finished")
    tracking.send_pending(config, store)
    assert_whole(upstream, run.id, experiment)


def test_a_damaged_journal_does_not_hold_up_the_others(upstream, store, experiment):
    config = TrackingConfig(uri=upstream)
    broken = store.root / "journals" / "20200101-000000-aaaaaa.jsonl"
    broken.parent.mkdir(parents=True)
    first = journal.encode({"do": "start"})
    broken.write_bytes(first + b"5 00000000 xxxxx\n" + first)
    run_id, _ = train(store, config, experiment)
    assert_whole(upstream, run_id, experiment)

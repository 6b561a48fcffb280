"""Which runs go on, what may differ when they do, and who answers Ctrl-C meanwhile."""

import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest

import raymle
from raymle import attempt, resume
from raymle.errors import ArtifactError, ConflictError, SecurityError, WorkError
from raymle.store import open_store
from raymle.tracking import recorded_steps, shelf
from raymle.train import stop


def experiment(storage, **train):
    draw = np.random.default_rng(0)
    size = draw.normal(size=400)
    frame = pd.DataFrame({"size": size, "late": np.where(size + draw.normal(scale=0.3, size=400) > 0, "yes", "no")})
    return raymle.Experiment(
        name="small", data=frame, target="late", storage=str(storage), model={"type": "linear"},
        train={"epochs": 3, "batch_size": 64} | train,
    )  # fmt: skip


@pytest.fixture
def failed(tmp_path):
    """A storage with one run that failed after its second epoch, and that run's id."""
    with pytest.MonkeyPatch.context() as patch:
        seen = []

        def fails(epochs, run, *rest):
            for epoch in epochs:
                run.metrics(epoch.metrics, step=epoch.epoch)
                seen.append(epoch.epoch)
                if len(seen) == 2:
                    raise RuntimeError("the disk is on fire")

        patch.setattr("raymle.pipeline.follow", fails)
        with pytest.raises(RuntimeError, match="on fire"):
            experiment(tmp_path / "runs").train()
    store = open_store(str(tmp_path / "runs"))
    return store, shelf.every(store)[0].run_id


def test_a_failed_run_goes_on_under_its_id_and_records_each_epoch_once(failed):
    store, run_id = failed
    assert shelf.load(store, run_id).status == "failed"
    assert "on fire" in shelf.reason(store, run_id)
    assert recorded_steps(store, run_id) == {1, 2}
    run = experiment(store.uri).train(resume=run_id[:18])
    assert (run.id, run.record.status, run.record.epochs) == (run_id, "finished", 3)
    assert recorded_steps(store, run_id) == {1, 2, 3}
    assert shelf.reason(store, run_id) == ""
    with pytest.raises(ConflictError, match="is finished: there is nothing to resume"):
        experiment(store.uri).train(resume=run_id)


def test_what_decides_the_weights_may_not_differ_and_what_does_not_may(failed):
    store, run_id = failed
    spec = experiment(store.uri).spec
    assert resume.unfinished(store, "last", spec) == run_id
    elsewhere = experiment(store.uri, resources={"cpu": 2}, step_timeout=5, workers={"min": 1, "max": 4}).spec
    assert resume.unfinished(store, run_id, elsewhere) == run_id
    for other in ({"batch_size": 32}, {"seed": 1}, {"optimizer": {"learning_rate": 0.5}}, {"epochs": 4}):
        with pytest.raises(ConflictError, match=r"was started with other settings: train\."):
            resume.unfinished(store, run_id, experiment(store.uri, **other).spec)


def test_other_data_are_refused(failed):
    store, run_id = failed
    splits = experiment(store.uri).prepare()
    assert resume.prepare(store, run_id, splits, ".") == {1, 2}
    with pytest.raises(ConflictError, match=r"the data have changed since .* began"):
        resume.prepare(store, run_id, splits.model_copy(update={"id": "other"}), ".")


def test_what_follows_the_rows_stays_what_the_run_began_with(failed):
    store, run_id = failed
    run = experiment(store.uri, epochs="auto", batch_size="auto").train(resume=run_id)
    assert (run.id, run.record.epochs) == (run_id, 3)
    assert (run.spec.train.epochs, run.spec.train.batch_size) == (3, 64)


@pytest.mark.parametrize("name", ["model.pt", "somewhere/weights.pkl", "a.ckpt"])
def test_a_pickle_is_refused_and_never_opened(failed, name):
    with pytest.raises(SecurityError, match="is a pickle"):
        resume.unfinished(failed[0], name, experiment(failed[0].uri).spec)


def test_a_run_that_is_not_there_is_named(tmp_path):
    store = open_store(str(tmp_path))
    with pytest.raises(ArtifactError, match="was stopped or failed"):
        resume.unfinished(store, "last", experiment(tmp_path).spec)


def test_two_processes_do_not_go_on_with_one_run(failed):
    store, run_id = failed
    spec, splits = experiment(store.uri).spec, experiment(store.uri).prepare()
    shelf.hold(store, run_id, spec, splits, kind="run")
    with pytest.raises(ConflictError, match=f"another process works on run {run_id}"):
        shelf.hold(store, run_id, spec, splits, kind="run")
    with pytest.raises(ConflictError, match="is running"):
        resume.unfinished(store, run_id, spec)


def test_the_first_signal_asks_for_a_checkpoint_and_handlers_are_put_back(tmp_path, capsys):
    store = open_store(str(tmp_path))
    before = signal.getsignal(signal.SIGINT)

    def training():
        with resume.own_signals(), resume.stopping(store, "r", keeps=True):
            os.kill(os.getpid(), signal.SIGTERM)
            while not stop.is_asked(store, "r"):  # a thread asks; the test's own timeout bounds this
                pass
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        training()
    assert stopped.value.args == (143,)
    assert "--resume r goes on from the beginning" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_training_without_checkpoints_and_one_in_a_thread_keep_the_usual_answer(tmp_path):
    store, before = open_store(str(tmp_path)), signal.getsignal(signal.SIGINT)
    with resume.stopping(store, "r", keeps=False):
        assert signal.getsignal(signal.SIGINT) is before

    def within():
        with resume.own_signals(), resume.stopping(store, "r", keeps=True):
            assert signal.getsignal(signal.SIGINT) is before

    thread = threading.Thread(target=within)
    thread.start()
    thread.join()


def test_an_attempt_of_a_dead_process_is_taken_over(failed):
    store, run_id = failed
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    spec, splits = experiment(store.uri).spec, experiment(store.uri).prepare()
    shelf.hold(store, run_id, spec, splits, kind="run")
    path = store.root / "runs" / run_id / "attempts" / "000002.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": int(dead.stdout)}))
    assert shelf.load(store, run_id).status == "killed"
    shelf.hold(store, run_id, spec, splits, kind="run")
    assert shelf.load(store, run_id).status == "running"


def test_a_run_of_a_machine_that_is_gone_is_taken_over_by_name(failed):
    store, run_id = failed
    spec, splits = experiment(store.uri).spec, experiment(store.uri).prepare()
    shelf.hold(store, run_id, spec, splits, kind="run")
    path = store.root / "runs" / run_id / "attempts" / "000002.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"host": "elsewhere"}))
    with pytest.raises(ConflictError, match="is running on another machine") as caught:
        resume.unfinished(store, run_id, spec)
    assert "--take-over" in caught.value.hint
    run = experiment(store.uri).train(resume=run_id, take_over=True)
    assert (run.id, run.record.status) == (run_id, "finished")
    assert shelf.is_from_elsewhere(store, run_id)


def test_a_run_that_goes_on_has_its_key_again(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("raymle.pipeline.follow", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            experiment(tmp_path / "runs").train(key="monday")
    run = experiment(tmp_path / "runs").train(resume="last")
    assert experiment(tmp_path / "runs").train(key="monday").id == run.id


def test_a_run_that_never_stops_early_goes_on_so(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("raymle.pipeline.follow", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            experiment(tmp_path / "runs", early_stopping=None).train()
    with pytest.raises(ConflictError, match=r"train.early_stopping.* there"):
        experiment(tmp_path / "runs").train(resume="last")


def test_a_run_that_diverged_may_diverge_again(tmp_path):
    wild = {"optimizer": {"learning_rate": 1e38}, "epochs": 5}
    reasons = set()
    for again in (None, "last"):
        with pytest.raises(WorkError, match="training stopped") as caught:
            experiment(tmp_path / "runs", **wild).train(resume=again, model={"type": "mlp"})
        reasons.add(str(caught.value))
    assert len(reasons) == 1


def test_differences_of_two_jobs_are_named_by_their_path(tmp_path):
    one, other = experiment(tmp_path).spec, experiment(tmp_path, epochs=9).spec
    assert attempt.first_difference(one, other) == "train.epochs is 3 there and 9 here"
    assert attempt.first_difference(one, other, but_for=("train",)) == ""

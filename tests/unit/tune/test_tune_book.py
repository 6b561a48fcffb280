import json
import math

import optuna
import pytest

from raymle.config.tune import BudgetConfig
from raymle.errors import WorkError
from raymle.records import Epoch, Fitted
from raymle.tracking import MemoryRun
from raymle.tune import space
from raymle.tune.book import Book

optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE = space.parse({"train.optimizer.learning_rate": {"loguniform": [1e-4, 1e-1]}})
FITTED = Fitted(bundle="b", parameters=1, epochs=1, best_epoch=1, seconds=0.1, metrics={}).model_dump()


def make(*, direction="maximize", **budget):
    lines = []
    book = Book(
        study=optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(0)),
        space=SPACE,
        open_run=lambda number: MemoryRun(f"run-{number}"),
        budget=BudgetConfig(**budget),
        show=lines.append,
    )
    return book, lines


def report(score, epoch=1):
    metrics = {"roc_auc": score}
    return {"score": score, "report": Epoch(epoch=epoch, step=epoch, metrics=metrics).model_dump()}


def finish(book, trial_id, score):
    assert book.propose(trial_id)
    book.hear(trial_id, report(score))
    book.hear(trial_id, {"done": True, "score": score, "fitted": FITTED})
    book.settle(trial_id)


def test_a_trial_gets_its_settings_and_its_run_has_them():
    book, _ = make()
    config = book.propose("a")
    rate = json.loads(config["values"])["train.optimizer.learning_rate"]
    run = book.attempts["a"].run
    assert config["run_id"] == run.id
    assert run.events == [{"do": "params", "values": {"train.optimizer.learning_rate": str(rate)}}]


def test_each_epoch_reaches_the_run_of_its_trial():
    book, _ = make()
    book.propose("a")
    book.hear("a", report(0.6, epoch=1))
    book.hear("a", report(0.7, epoch=2))
    told = [(event["step"], event["values"]) for event in book.attempts["a"].run.events if event["do"] == "metrics"]
    assert told == [(1, {"roc_auc": 0.6}), (2, {"roc_auc": 0.7})]
    assert [epoch.epoch for epoch in book.attempts["a"].history] == [1, 2]


@pytest.mark.parametrize(("direction", "best"), [("maximize", "run-2"), ("minimize", "run-1")])
def test_the_best_is_by_the_metrics_direction(direction, best):
    book, _ = make(direction=direction)
    finish(book, "a", 0.6)
    finish(book, "b", 0.8)
    assert book.best().run.id == best


def test_a_trial_that_was_stopped_early_can_win_because_it_kept_its_bundle():
    book, lines = make()
    finish(book, "a", 0.6)
    book.propose("b")
    book.hear("b", report(0.9))
    book.keep("b", json.dumps(FITTED))
    book.settle("b")
    assert book.best().run.id == "run-2"
    assert "stopped" in lines[1]
    assert book.study.trials[1].state.name == "PRUNED"
    assert {
        "do": "tags",
        "values": {"raymle.trial": "stopped", "raymle.reason": "stopped early after epoch 1"},
    } in (book.best().run.events)
    assert book.record("s").model_dump() == {
        "id": "s", "trials": 2, "finished": 1, "failed": 0, "stopped_early": 1, "resumed": 0,
    }  # fmt: skip


def test_a_failed_trial_keeps_its_reason_and_never_wins():
    book, lines = make()
    finish(book, "a", 0.6)
    book.propose("b")
    book.hear("b", report(0.9))
    book.hear("b", {"done": True, "score": math.nan, "reason": "ValueError: too fast"})
    book.settle("b")
    assert book.best().run.id == "run-1"
    assert "ValueError: too fast" in lines[1]
    assert book.attempts["b"].run.events[-2:] == [
        {"do": "tags", "values": {"raymle.trial": "failed", "raymle.reason": "ValueError: too fast"}},
        {"do": "finish", "status": "failed"},
    ]
    assert book.study.trials[1].state.name == "FAIL"


def test_when_all_trials_fail_the_causes_are_grouped():
    book, _ = make()
    for trial_id, reason in (("a", "out of memory"), ("b", "ValueError: no"), ("c", "ValueError: no")):
        book.propose(trial_id)
        book.settle(trial_id, reason)
    with pytest.raises(WorkError, match="all 3 trials failed:\n  2 x ValueError: no\n  1 x out of memory"):
        book.best()


def test_a_trial_whose_metric_was_never_a_number_is_no_winner_over_one_that_was():
    book, _ = make(direction="minimize")
    finish(book, "a", math.nan)
    finish(book, "b", 3.0)
    assert book.best().run.id == "run-2"


def test_no_improvement_ends_the_proposals():
    book, _ = make(no_improvement=2)
    for trial_id, score in (("a", 0.6), ("b", 0.7), ("c", 0.65), ("d", 0.7)):
        finish(book, trial_id, score)
    assert book.propose("e") is None


def test_a_better_best_resets_no_improvement():
    book, _ = make(no_improvement=2)
    for trial_id, score in (("a", 0.6), ("b", 0.5), ("c", 0.7)):
        finish(book, trial_id, score)
    assert book.propose("d") is not None


def test_when_the_minutes_are_over_nothing_new_starts():
    book, _ = make(minutes=1)
    assert book.propose("a")
    book.started -= 61
    assert book.is_late()
    assert book.propose("b") is None


def test_a_study_that_is_interrupted_ends_its_open_runs_as_killed():
    book, _ = make()
    finish(book, "a", 0.5)
    book.propose("b")
    book.close()
    assert book.attempts["a"].run.events[-1]["status"] == "finished"
    assert book.attempts["b"].run.events[-1]["status"] == "killed"

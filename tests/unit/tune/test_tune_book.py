import json
import math

import pytest

from raymle import removal, tune
from raymle.config import TuneConfig
from raymle.errors import ConflictError, WorkError
from raymle.records import Epoch, Fitted
from raymle.store import open_store
from raymle.tracking import MemoryRun
from raymle.tune import capacity, setting, space, storage
from raymle.tune.book import Book
from raymle.tune.explore import explore

RATE = "train.optimizer.learning_rate"
SPACE = {RATE: {"loguniform": [1e-4, 1e-1]}}
FITTED = Fitted(bundle="b", parameters=1, epochs=1, best_epoch=1, seconds=0.1, metrics={"roc_auc": 0.5}).model_dump()


class Place:
    """A study's surroundings on disk, that a second session finds again."""

    def __init__(self, folder):
        self.store = open_store(str(folder / "runs"))
        self.runs, self.ids = {}, iter(f"run-{number}" for number in range(1, 99))

    def open_run(self, run_id, number):
        return self.runs.setdefault(run_id, MemoryRun(run_id))

    def known(self, run_id):
        events = self.runs[run_id].events if run_id in self.runs else []
        return {event["step"] for event in events if event["do"] == "metrics"}

    def book(
        self,
        space_=SPACE,
        *,
        objectives=None,
        up=True,
        shape=None,
        share=1.0,
        group=1,
        per_hour=0.0,
        afresh=False,
        **config,
    ):
        config = TuneConfig.model_validate({"algorithm": "random", "space": space_} | config)
        nodes, goals = space.parse(space_), objectives or {"roc_auc": up}
        given = setting.Setting(
            config=config, space=nodes, objectives=goals, most_epochs=lambda values: 3,
            shape=shape or (lambda values: None), new_id=lambda: next(self.ids), open_run=self.open_run,
            known=self.known, keep=lambda *told: setting._keep(self.store, *told),
            recall=lambda run_id: setting.recall(self.store, run_id), publish=lambda: None, room=capacity.Room(1, share, {}, group), per_hour=per_hour,
        )  # fmt: skip
        return Book(
            storage.open_study(self.store, "s", space=space_, nodes=nodes, objectives=goals, afresh=afresh), given
        )


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def report(run_id, score, epoch=1, **more):
    metrics = {"roc_auc": score, **more}
    return {"run_id": run_id, "score": score, "report": Epoch(epoch=epoch, step=epoch, metrics=metrics).model_dump()}


def start(book, trial_id="a"):
    return book.propose(trial_id)[0].run_id


def finish(book, trial_id, score, **more):
    run_id = start(book, trial_id)
    for epoch in (1, 2, 3):
        book.hear(report(run_id, score, epoch, **more))
    book.hear({"run_id": run_id, "fitted": FITTED})
    book.settle(trial_id)
    return run_id


def test_a_trial_gets_its_settings_and_its_run_has_them(place):
    (attempt,) = place.book().propose("a")
    assert place.runs[attempt.run_id].events == [{"do": "params", "values": {RATE: str(attempt.values[RATE])}}]


def test_each_epoch_reaches_the_run_of_its_trial_and_optuna(place):
    book = place.book()
    run_id = start(book)
    book.hear(report(run_id, 0.6, 1))
    book.hear(report(run_id, 0.7, 2))
    told = [(event["step"], event["values"]) for event in place.runs[run_id].events if event["do"] == "metrics"]
    assert told == [(1, {"roc_auc": 0.6}), (2, {"roc_auc": 0.7})]
    assert book.study.trials[0].intermediate_values == {1: 0.6, 2: 0.7}


@pytest.mark.parametrize(("up", "best"), [(True, "run-2"), (False, "run-1")])
def test_the_best_is_by_the_metrics_direction(place, up, best):
    book = place.book(up=up)
    finish(book, "a", 0.6)
    finish(book, "b", 0.8)
    assert book.candidates()[0].run_id == best


def test_a_trial_that_was_stopped_early_can_win_because_it_kept_its_bundle(place):
    book = place.book()
    finish(book, "a", 0.6)
    run_id = start(book, "b")
    book.hear(report(run_id, 0.9))
    book.hear({"run_id": run_id, "fitted": FITTED, "stopped": True})
    assert book.candidates()[0].run_id == run_id
    assert book.study.trials[1].state.name == "PRUNED"
    told = {"raymle.trial": "stopped", "raymle.reason": "stopped early after epoch 1"}
    assert {"do": "tags", "values": told} in place.runs[run_id].events
    counts = book.record("s").model_dump(include={"trials", "finished", "stopped_early", "epochs", "epochs_saved"})
    assert counts == {"trials": 2, "finished": 1, "stopped_early": 1, "epochs": 4, "epochs_saved": 2}


def test_a_failed_trial_keeps_its_reason_and_never_wins(place):
    book = place.book()
    finish(book, "a", 0.6)
    run_id = start(book, "b")
    book.hear(report(run_id, 0.9))
    book.hear({"run_id": run_id, "score": math.nan, "reason": "ValueError: too fast"})
    assert [each.run_id for each in book.candidates()] == ["run-1"]
    assert place.runs[run_id].events[-2:] == [
        {"do": "tags", "values": {"raymle.trial": "failed", "raymle.reason": "ValueError: too fast"}},
        {"do": "finish", "status": "failed"},
    ]
    assert book.study.trials[1].state.name == "FAIL"


def test_when_all_trials_fail_the_causes_are_grouped(place):
    book = place.book()
    for trial_id, reason in (("a", "out of memory"), ("b", "ValueError: no"), ("c", "ValueError: no")):
        book.propose(trial_id)
        book.settle(trial_id, reason)
    with pytest.raises(WorkError, match="all 3 trials failed:\n  2 x ValueError: no\n  1 x out of memory"):
        book.candidates()


def test_a_trial_whose_metric_was_never_a_number_is_no_winner_over_one_that_was(place):
    book = place.book(up=False)
    finish(book, "a", math.nan)
    finish(book, "b", 3.0)
    assert book.candidates()[0].run_id == "run-2"


def test_no_improvement_ends_the_proposals_and_a_better_best_resets_it(place):
    book = place.book(budget={"no_improvement": 2})
    for trial_id, score in (("a", 0.6), ("b", 0.5), ("c", 0.7), ("d", 0.65)):
        finish(book, trial_id, score)
    assert book.propose("e")
    book.settle("e", "it failed")
    assert book.propose("f") == []


def test_when_the_minutes_are_over_nothing_new_starts(place):
    book = place.book(budget={"minutes": 1})
    assert book.propose("a")
    book.started -= 61
    assert book.is_late()
    assert book.propose("b") == []


def test_dollars_are_node_seconds_times_price_and_end_a_study(place):
    book = place.book(budget={"dollars": 2}, per_hour=36.0, share=0.5)
    run_id = start(book)
    book.hear(report(run_id, 0.6) | {"seconds": 100})
    assert book.attempts[run_id].dollars == pytest.approx(0.5)
    assert not book.is_late()
    book.started -= 200
    assert book.spent.dollars == pytest.approx(2, abs=0.1)
    assert book.propose("b") == []


def test_trials_of_one_shape_are_proposed_together_and_others_alone(place):
    space_ = SPACE | {"model.params.hidden": {"choice": [8, 16]}}
    book = place.book(space_, shape=lambda values: str(values["model.params.hidden"]), trials=8, group=8)
    groups = [book.propose(str(number)) for number in range(8)]
    groups = [[attempt.values["model.params.hidden"] for attempt in group] for group in groups if group]
    proposed = [hidden for group in groups for hidden in group]
    assert all(len(set(group)) == 1 and len(group) <= 8 for group in groups)
    assert sorted(proposed) == sorted(attempt.values["model.params.hidden"] for attempt in book.attempts.values())
    assert len(proposed) == 8
    assert len(groups) < 8


def test_a_study_that_is_interrupted_ends_its_open_runs_as_killed(place):
    book = place.book()
    done = finish(book, "a", 0.5)
    open_ = start(book, "b")
    book.close()
    assert place.runs[done].events[-1]["status"] == "finished"
    assert place.runs[open_].events[-1]["status"] == "killed"


def test_a_killed_study_goes_on_and_no_trial_that_ended_runs_again(place):
    first = place.book(trials=4)
    done = finish(first, "a", 0.8)
    cut = start(first, "b")
    first.hear(report(cut, 0.5, 1))  # and then the driver is killed
    cut_values = first.attempts[cut].values

    second = place.book(trials=4)
    assert second.resumed == 2
    (again,) = second.propose("x")
    assert (again.run_id, again.values) == (cut, cut_values)
    for epoch in (1, 2, 3):
        second.hear(report(cut, 0.5, epoch))
    second.hear({"run_id": cut, "fitted": FITTED})
    finish(second, "y", 0.6)
    finish(second, "z", 0.7)
    assert second.propose("no more") == []
    steps = [event["step"] for event in place.runs[cut].events if event["do"] == "metrics"]
    assert steps == [1, 2, 3]
    assert second.record("s").model_dump(include={"trials", "finished"}) == {"trials": 4, "finished": 4}
    assert second.candidates()[0].run_id == done
    assert [trial.state.name for trial in second.study.trials] == ["COMPLETE"] * 4


def test_a_study_that_goes_on_proposes_what_it_would_have_proposed(tmp_path):
    whole, cut = Place(tmp_path / "whole"), Place(tmp_path / "cut")
    book = whole.book(algorithm="tpe", trials=8)
    for trial in range(8):
        finish(book, str(trial), 0.5 + trial / 100)
    for trial in range(8):
        finish(cut.book(algorithm="tpe", trials=8), str(trial), 0.5 + trial / 100)
    proposed = [[trial.params for trial in each.book(trials=8).study.trials] for each in (whole, cut)]
    assert proposed[0] == proposed[1]


def test_a_trial_whose_end_was_kept_but_not_told_is_told_later(place):
    first = place.book()
    run_id = start(first)
    attempt = first.attempts[run_id]
    first.hear(report(run_id, 0.5, 1))
    attempt.fitted, attempt.state, attempt.goals = Fitted.model_validate(FITTED), "stopped", (0.5,)
    setting._keep(place.store, run_id, attempt.ended())  # and then the driver is killed

    second = place.book()
    assert second.attempts[run_id].state == "stopped"
    assert second.study.trials[0].state.name == "PRUNED"
    assert place.runs[run_id].events[-1] == {"do": "finish", "status": "killed"}


def test_a_wider_space_goes_on_and_knows_the_trials_before(place):
    narrow = SPACE | {"model.params.activation": {"choice": ["relu"]}}
    first = place.book(narrow, trials=2)
    finish(first, "a", 0.6)
    cut = start(first, "b")
    wide = {RATE: {"loguniform": [1e-4, 1.0]}, "model.params.activation": {"choice": ["relu", "tanh", "sigmoid"]}}
    second = place.book(wide, trials=5)
    assert second.resumed == 1
    assert len(second.study.get_trials(deepcopy=False)) == 2  # one that ended, one that waits to be asked for again
    (again,) = second.propose("x")
    assert (again.run_id, again.values) == (cut, first.attempts[cut].values)
    second.settle("x", "it failed")
    for trial in range(3):
        finish(second, str(trial), 0.7)
    assert second.propose("no more") == []
    assert second.record("s").trials == 5


def test_a_narrower_space_keeps_the_results_that_it_cannot_hold(place):
    first = place.book(trials=3)
    for trial in range(3):
        finish(first, str(trial), 0.6)
    second = place.book({RATE: {"loguniform": [1e-9, 2e-9]}}, trials=4)
    assert second.record("s").trials == 3
    assert finish(second, "x", 0.7) == second.candidates()[0].run_id
    assert len(second.candidates()) == 4
    assert second.propose("no more") == []


def test_other_objectives_are_another_study(place):
    place.book()
    with pytest.raises(ConflictError, match="begun with other objectives: roc_auc"):
        place.book(objectives={"roc_auc": True, "parameters": False})


def test_seconds_and_dollars_of_earlier_sessions_count(place):
    first = place.book(per_hour=36.0)
    first.started -= 100
    first.close()
    second = place.book(per_hour=36.0)
    assert second.spent.seconds == pytest.approx(100, abs=2)
    assert second.spent.dollars == pytest.approx(1.0, abs=0.05)


def test_several_objectives_are_told_together(place):
    book = place.book(objectives={"roc_auc": True, "parameters": False, "validation_loss": False})
    finish(book, "a", 0.6, validation_loss=0.25)
    assert book.study.trials[0].values == [0.6, 1.0, 0.25]
    run_id = start(book, "b")
    book.hear(report(run_id, 0.7, validation_loss=0.5))
    book.hear({"run_id": run_id, "fitted": FITTED, "stopped": True})  # its best weights are as good a trade as any
    assert book.study.trials[1].values == [0.7, 1.0, 0.5]


def test_an_attempt_of_a_population_goes_on_with_the_history_of_another(place):
    book = place.book()
    good, bad = start(book, "good"), start(book, "bad")
    for epoch in (1, 2):
        book.hear(report(good, 0.9, epoch))
    book.hear(report(bad, 0.1, 1))
    attempt = book.exploit("bad", "good")
    assert attempt.run_id == bad
    assert attempt.values == explore(book.attempts[good].values, space.parse(SPACE), seed=0)
    entered = {"run_id": good, "reports": [report(good, 0.9, epoch)["report"] for epoch in (1, 2)]}
    book.hear(report(bad, 0.92, 3) | {"entered": entered})
    assert [epoch.metrics["roc_auc"] for epoch in book.attempts[bad].history] == [0.9, 0.9, 0.92]
    told = [event["values"]["raymle.exploited"] for event in place.runs[bad].events if event["do"] == "tags"]
    assert told == [f"after epoch 2 it went on from {good} with {json.dumps(attempt.values)}"]
    assert sum(event["do"] == "params" for event in place.runs[bad].events) == 1
    assert place.book().attempts[bad].values == attempt.values  # a study that goes on goes on with them


def test_what_a_killed_writer_left_half_written_does_not_matter(place):
    book = place.book()
    finish(book, "a", 0.6)
    log = place.store.root / "studies" / "s" / "optuna.log"
    with log.open("a") as file:
        file.write('{"op_code": 4, "wor')
    (log.parent / "optuna.log.lock").symlink_to(log)
    again = place.book()
    assert finish(again, "b", 0.7) == again.candidates()[0].run_id
    assert len(again.study.trials) == 2


@pytest.mark.parametrize("algorithm", ["random", "tpe", "gp", "cmaes"])
def test_each_algorithm_proposes_and_goes_on_within_the_space(place, algorithm):
    space_ = SPACE | {"model.params.dropout": {"uniform": [0.1, 0.9]}}
    for session in range(2):
        book = place.book(space_, algorithm=algorithm, trials=8 * (session + 1), afresh=algorithm == "cmaes")
        for trial in range(8):
            finish(book, f"{session} {trial}", 0.5 + trial / 100)
        assert book.propose("no more") == []
    values = [attempt.values for attempt in book.attempts.values()]
    assert len(values) == 16
    assert all(1e-4 <= each[RATE] <= 1e-1 and 0.1 <= each["model.params.dropout"] <= 0.9 for each in values)


def test_what_a_sampler_has_pickled_is_not_there_for_the_next_session(place):
    space_ = SPACE | {"model.params.dropout": {"uniform": [0.1, 0.9]}}
    first = place.book(space_, algorithm="cmaes", trials=24)
    for trial in range(16):
        finish(first, str(trial), 0.5 + trial / 100)
    assert any(trial.system_attrs for trial in first.study.trials)
    second = place.book(space_, algorithm="cmaes", trials=24, afresh=True)
    assert not any(trial.system_attrs for trial in second.study.trials)
    assert second.record("s").trials == 16


def test_a_study_is_removed_with_all_its_trials(place):
    book = place.book(trials=3)
    for trial in range(2):
        finish(book, str(trial), 0.6)
    start(book, "running")
    place.store.write_new("runs/s/begun.json", b"{}")
    assert tune.trial_runs(place.store, "s") == ["run-1", "run-2", "run-3"]
    removed = removal.remove(["s"], storage=place.store.uri)
    assert removed == ["run-1", "run-2", "run-3", "s"]
    assert place.store.names("runs") == place.store.names("studies") == []


def test_an_infinite_number_of_a_loop_of_ones_own_is_kept_and_read_back(place):
    book = place.book(trials=1)
    run_id = start(book)
    book.hear(report(run_id, 0.5, 1, cost=math.inf, gain=math.nan))
    book.hear({"run_id": run_id, "fitted": FITTED})
    assert math.isinf(place.book(trials=1).attempts[run_id].history[0].metrics["cost"])


def test_a_trial_whose_end_was_kept_but_not_told_does_not_run_again_in_a_wider_space(place):
    first = place.book(trials=2)
    run_id = start(first)
    attempt = first.attempts[run_id]
    first.hear(report(run_id, 0.5, 1))
    attempt.fitted, attempt.state, attempt.goals = Fitted.model_validate(FITTED), "finished", (0.5,)
    setting._keep(place.store, run_id, attempt.ended())  # and then the driver is killed
    second = place.book({RATE: {"loguniform": [1e-4, 1.0]}}, trials=2)
    (other,) = second.propose("x")
    assert other.run_id != run_id
    assert second.attempts[run_id].state == "finished"
    assert second.propose("no more") == []


def test_a_study_whose_driver_died_while_it_asked_goes_on(place):
    wide = {RATE: {"loguniform": [1e-4, 1.0]}}
    start(place.book(trials=2))
    second = place.book(wide, trials=2)
    second.study.ask()  # and then the driver is killed
    third = place.book(wide, trials=2)
    assert third.propose("x")
    assert third.propose("y")
    assert third.propose("no more") == []


def test_an_option_that_means_something_else_now_is_another_trial(place):
    kinds = [{"model": {"choice": [{"type": "mlp", "params": {"hidden": [width]}}]}} for width in (64, 256)]
    first = place.book(kinds[0], trials=3)
    finish(first, "a", 0.6)
    start(first, "b")
    second = place.book(kinds[1], trials=3)
    assert len(second.study.trials) == 0
    assert second.record("s").trials == 1
    assert all(each.values["model"]["params"]["hidden"] == [256] for each in second.propose("x"))


def test_the_points_of_a_grid_are_all_run_though_it_moves_or_the_driver_dies(place):
    def grid(*options):
        return place.book({"model.params.hidden": {"choice": list(options)}}, algorithm="grid", trials=20)

    def run(book):
        points = space.grid(book.setting.space)
        most = storage.queue(book.studies, points, most=20)
        again = place.book(book.setting.config.space, algorithm="grid", trials=most)
        while attempts := again.propose(str(len(again.attempts))):
            again.hear(report(attempts[0].run_id, 0.5))
            again.hear({"run_id": attempts[0].run_id, "fitted": FITTED})
        return sorted(attempt.values["model.params.hidden"] for attempt in again.attempts.values())

    first = grid(8, 16)
    storage.queue(first.studies, space.grid(first.setting.space), most=20)
    first.study.ask()  # and then the driver is killed
    assert run(grid(8, 16)) == [8, 16]
    assert run(grid(16, 32, 64)) == [8, 16, 32, 64]


def test_numbers_of_trials_are_their_own_after_a_narrower_space(place):
    first = place.book(trials=3)
    for trial in range(3):
        finish(first, str(trial), 0.6)
    second = place.book({RATE: {"loguniform": [1e-9, 2e-9]}}, trials=5)
    for trial in range(2):
        finish(second, str(trial), 0.7)
    assert [row.number for row in second.progress().rows] == [1, 2, 3, 4, 5]


def test_trials_of_a_stack_whose_process_died_run_again_alone(place):
    book = place.book(shape=lambda values: "same", group=4, trials=4)
    members = book.propose("stack")
    for attempt in members:
        book.hear(report(attempt.run_id, 0.6))
    assert book.propose("none left") == []
    assert book.may_retry()
    book.retry("stack")
    again = [book.propose(f"alone {place}") for place in range(4)]
    assert [len(each) for each in again] == [1, 1, 1, 1]
    assert not book.may_retry()
    for (attempt,) in again:
        book.hear(report(attempt.run_id, 0.6))
        book.hear({"run_id": attempt.run_id, "fitted": FITTED})
        events = place.runs[attempt.run_id].events
        assert sum(event["do"] == "params" for event in events) == 1
        assert [event["step"] for event in events if event["do"] == "metrics"] == [1]
    assert book.record("s").finished == 4


def test_a_metric_that_was_never_a_number_or_never_reported_is_a_failure_with_its_reason(place):
    book = place.book(objectives={"roc_auc": True, "speed": True})
    finish(book, "a", math.nan)
    finish(book, "b", 0.5)
    reasons = [attempt.reason for attempt in book.ended]
    assert reasons[0] == "roc_auc was never a number"
    assert reasons[1].endswith("but not speed")


def test_a_failed_trial_is_no_better_best(place):
    book = place.book(budget={"no_improvement": 1})
    run_id = start(book, "a")
    book.hear(report(run_id, 0.99))
    book.hear({"run_id": run_id, "reason": "it broke"})
    finish(book, "b", 0.5)
    assert book.propose("c")


def test_an_exploited_trial_says_so_after_a_kill_too(place):
    book = place.book()
    start(book, "good")
    bad = start(book, "bad")
    book.exploit("bad", "good")
    again = place.book()
    again.propose("x")
    again.propose("y")
    again.hear(report(bad, 0.5))
    again.hear({"run_id": bad, "fitted": FITTED})
    assert "no single run reproduces it" in again.attempts[bad].fitted.warnings[0]


def test_a_person_sees_a_trial_that_runs_before_any_has_ended(place, monkeypatch):
    monkeypatch.setattr("raymle.tune.book.SHOW_S", -1.0)
    book = place.book()
    seen = []
    book.show = seen.append
    run_id = start(book)
    book.hear(report(run_id, 0.6, 1))
    book.hear(report(run_id, 0.7, 2))
    assert [[(row.state, row.epochs, row.score) for row in progress.rows] for progress in seen] == [
        [("running", 0, None)], [("running", 1, 0.6)], [("running", 2, 0.7)],
    ]  # fmt: skip

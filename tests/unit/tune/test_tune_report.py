import json
import math
import re
import shutil
import subprocess
import warnings

import optuna
import pytest
from studies import progress, row

from raymle.tune import pictures, report, shown, space
from raymle.tune.progress import epochs_saved

optuna.logging.set_verbosity(optuna.logging.ERROR)
NASTY = "</script><i id=it>{{ 7*7 }}</i><!--"
USUAL = space.parse({
    "train.optimizer.learning_rate": {"loguniform": [1e-4, 1e-1]},
    "model.params.dropout": {"uniform": [0.1, 0.9]},
    "model.params.hidden": {"choice": [[64], [256, 128]]},
})  # fmt: skip
CONDITIONAL = space.parse({
    "train.optimizer.learning_rate": {"loguniform": [1e-4, 1e-1]},
    "model": {"choice": [
        {"type": "mlp", "params": {"dropout": {"uniform": [0.1, 0.9]}}},
        {"type": "trees", "params": {"leaves": {"int": [4, 64]}}},
    ]},
})  # fmt: skip
ALL = {"history", "parallel", "importance", "slices", "curves", "epochs"}


def state_of(number):
    return "failed" if number % 7 == 0 else "stopped" if number % 3 == 0 else "finished"


def study(trials=12, tree=USUAL, *, directions=("maximize",), state=state_of):
    """Run a study whose score depends on the learning rate alone, and return it with its progress."""
    found = optuna.create_study(directions=directions, sampler=optuna.samplers.RandomSampler(seed=0))
    rows = []
    for number in range(1, trials + 1):
        asked = found.ask()
        asked.set_user_attr("run_id", f"run-{number}")
        settings = space.flat(space.suggest(asked, tree))
        score = 1 - (math.log10(settings["train.optimizer.learning_rate"]) + 2) ** 2 / 10
        values = (score, float(number % 4), float(number % 5), float(number % 3))[: len(directions)]
        how = state(number)
        epochs = {"failed": 1, "stopped": 3, "finished": 10}[how]
        reason = f"ValueError: {NASTY}" if how == "failed" else ""
        rows.append(row(number, how, score, epochs=epochs, settings=settings, reason=reason, values=values))
        tell(found, asked, how, values, epochs)
    return found, progress(*rows, trials=trials, elapsed_s=75.0, dollars=0.5, max_dollars=2.0)


def tell(found, asked, how, values, epochs):
    if len(values) == 1:
        for epoch in range(1, epochs + 1):
            asked.report(values[0] * epoch / 10, step=epoch)
    state = {"failed": "FAIL", "stopped": "PRUNED", "finished": "COMPLETE"}[how]
    found.tell(asked, values if how == "finished" else None, state=optuna.trial.TrialState[state])


def page(tmp_path, found, seen, name="churn"):
    return report.write(tmp_path / "study", found, seen, name=name).read_text()


def drawn(text):
    """Return the figures that a page draws."""
    return json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)[1])


def left_out(found, seen):
    return {picture.name: picture.says for picture in pictures.pictures(found, seen) if not picture.figure}


def axis(figure, name="x"):
    return figure["layout"][f"{name}axis"]["title"]["text"]


def test_the_page_has_the_facts_every_picture_and_every_trial(tmp_path):
    found, seen = study()
    text = page(tmp_path, found, seen)
    assert set(drawn(text)) == ALL
    assert "Left out" not in text
    best = max((each for each in seen.rows if each.state != "failed"), key=lambda each: each.score)
    whole = epochs_saved(seen) + sum(row.epochs for row in seen.rows)
    for expected in (
        f"{best.score:.4f}", f"Trial {best.number}, run <code>run-{best.number}</code>", "0:01:15", "$0.50", "of $2.00",
        "7 finished, 4 stopped early, 1 failed", f"<b>{epochs_saved(seen)}</b>", f"of {whole} by stopping early",
        "train.optimizer.learning_rate", str(best.settings["train.optimizer.learning_rate"]), "why it failed",
    ):  # fmt: skip
        assert expected in text
    assert len(re.findall("<td>run-", text)) == 12


def test_a_trial_has_raymles_number_and_a_stopped_one_its_best_score_in_the_pictures():
    found, seen = study(6, state=lambda number: "stopped" if number == 5 else "finished" if number % 2 else "failed")
    one = shown.deciding(found, seen)
    scores = {trial.number: trial.value for trial in one.trials if trial.value is not None}
    assert scores == {number: seen.rows[number - 1].score for number in (1, 3, 5)}
    assert set(one.trials[1].params) == {"learning_rate", "dropout", "hidden"}


def test_epochs_run_and_saved_add_up(tmp_path):
    found, seen = study()
    bars = {trace["name"]: trace for trace in drawn(page(tmp_path, found, seen))["epochs"]["data"]}
    assert sum(bars["saved by stopping early"]["y"]) == epochs_saved(seen) == 28
    assert sum(bars["run"]["y"]) == 7 * 10 + 4 * 3
    assert sum(bars["run by a trial that failed"]["y"]) == 1


def test_settings_that_only_some_trials_have_are_in_every_picture(tmp_path):
    found, seen = study(tree=CONDITIONAL)
    figures = drawn(page(tmp_path, found, seen))
    assert set(figures) == ALL
    assert set(figures["importance"]["data"][0]["y"]) == {"learning_rate", "model", "dropout", "leaves"}
    assert len([name for name in figures["slices"]["layout"] if name.startswith("xaxis")]) == 4


@pytest.mark.parametrize(
    ("directions", "fronts"),
    [
        (("maximize", "minimize"), ["objective 2"]),
        (("maximize", "minimize", "minimize", "minimize"), ["objective 2", "objective 3", "objective 4"]),
    ],
)
def test_several_objectives_have_a_front_for_each_beside_the_deciding_one(tmp_path, directions, fronts):
    found, seen = study(directions=directions)
    text = page(tmp_path, found, seen)
    figures = drawn(text)
    found_fronts = [name for name in figures if name.startswith("front")]
    assert [axis(figures[name], "y") for name in found_fronts] == fronts
    assert {axis(figures[name]) for name in found_fronts} == {"roc_auc"}
    assert ALL - {"curves"} <= set(figures)
    assert "Best Value" in {trace["name"] for trace in figures["history"]["data"]}
    for name in fronts:
        assert f'<th scope="col">{name}</th>' in text


def test_objectives_go_by_their_names(tmp_path):
    found, seen = study(directions=("maximize", "minimize"))
    with warnings.catch_warnings(action="ignore"):
        found.set_metric_names(["roc_auc", "size_mb"])
    assert axis(drawn(page(tmp_path, found, seen))["front-1"], "y") == "size_mb"


def test_when_all_failed_the_page_still_says_why(tmp_path):
    found, seen = study(3, state=lambda number: "failed")
    text = page(tmp_path, found, seen)
    assert set(drawn(text)) == {"epochs"}
    assert text.count("ValueError: ") == 3
    assert set(left_out(found, seen)) == ALL - {"epochs"}
    assert "Best trial" not in text


def test_one_trial_has_a_history_and_no_more_is_claimed(tmp_path):
    found, seen = study(1)
    assert set(drawn(page(tmp_path, found, seen))) == {"history", "curves", "epochs"}
    assert left_out(found, seen)["importance"] == "it takes 4 or more trials with a score, and the study has 1"


def test_one_setting_has_no_importance():
    tree = {path: USUAL[path] for path in ("train.optimizer.learning_rate",)}
    assert left_out(*study(tree=tree)) == {"importance": "it takes 2 or more settings, and the study has 1"}


def test_a_study_of_nothing_has_a_page_without_a_script(tmp_path):
    text = page(tmp_path, optuna.create_study(), progress())
    assert drawn(text) == {}
    assert len(text) < 20_000


def test_importance_finds_what_matters_in_the_twenty_trials_of_a_default_study(tmp_path):
    found, seen = study(20)
    bars = drawn(page(tmp_path, found, seen))["importance"]["data"][0]
    assert bars["y"][-1] == "learning_rate"


def test_what_does_not_vary_or_is_no_number_is_no_reason_to_crash(tmp_path):
    found, _ = study(8, state=lambda number: "finished")
    same = progress(*(row(number, score=0.5 if number % 2 else math.inf) for number in range(1, 9)))
    text = page(tmp_path, found, same)
    assert set(drawn(text)) == ALL - {"importance"}
    assert left_out(found, same)["importance"].startswith("it can't be drawn: ")
    assert "NaN" not in text[text.index('id="figures"') : text.index("</script>")]


def test_a_picture_that_a_library_refuses_is_left_out_with_its_words():
    def refuse():
        raise RuntimeError("no variance")

    picture = pictures.drawn("x", "X", "What it shows.", refuse, "")
    assert (picture.figure, picture.says) == ("", "it can't be drawn: no variance")


def test_settings_of_two_models_with_one_name_stay_apart():
    long = "a_name_that_is_longer_than_a_label"
    paths = ["model[mlp].params.dropout", "model[cnn].params.dropout", "model", f"{long}_1", f"{long}_2"]
    found = optuna.create_study()
    for place, path in enumerate(paths, 1):
        found.add_trial(
            optuna.trial.create_trial(
                value=0.5,
                params={path: 0.1},
                distributions={path: optuna.distributions.FloatDistribution(0, 1)},
                user_attrs={"run_id": f"run-{place}"},
            )
        )
    one = shown.deciding(found, progress(*(row(number) for number in range(1, 6))))
    names = {name for trial in one.trials for name in trial.params}
    assert set(paths[:3]) < names
    assert len(names) == 5


def test_options_that_are_cut_to_one_label_stay_apart():
    options = ["a" * 40 + "1", "a" * 40 + "2", "<b>"]
    choice = optuna.distributions.CategoricalDistribution(options)
    found = optuna.create_study()
    for place, option in enumerate(options, 1):
        found.add_trial(
            optuna.trial.create_trial(
                value=0.5, params={"x": option}, distributions={"x": choice}, user_attrs={"run_id": f"run-{place}"}
            )
        )
    one = shown.deciding(found, progress(*(row(number) for number in (1, 2, 3))))
    assert [trial.params.get("x") for trial in one.trials] == [None, "a" * 31 + "… #0", "a" * 31 + "… #1", "&lt;b&gt;"]


def test_the_users_study_stays_as_it_is_and_nothing_is_said(tmp_path, capfd):
    found, seen = study()
    before = found.trials
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings(action="error"):
            page(tmp_path, found, seen)
            page(tmp_path, *study(2, state=lambda number: "failed"))
        assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    finally:
        optuna.logging.set_verbosity(level)
    assert found.trials == before
    assert capfd.readouterr() == ("", "")


def test_a_reason_that_is_no_unicode_is_shown_all_the_same(tmp_path):
    found, _ = study(1)
    text = page(tmp_path, found, progress(row(1, "failed", None, reason="FileNotFoundError: caf\udce9.csv")))
    assert "FileNotFoundError: caf?.csv" in text


def nasty():
    found, seen = study(tree={**USUAL, f"model.{NASTY}": space.parse({"model.x": {"choice": [NASTY, "b"]}})["model.x"]})
    return found, progress(*seen.rows, metric=NASTY)


def test_names_from_outside_are_text_and_never_markup(tmp_path):
    text = page(tmp_path, *nasty(), name=NASTY)
    assert "<i id=it>" not in text
    assert "{{ 7*7 }}" in text
    assert "<!--" not in text[: text.index("plotly.js v")]


@pytest.mark.skipif(not shutil.which("chromium"), reason="no browser here")
def test_a_browser_draws_every_picture_under_the_pages_own_policy(tmp_path):
    page(tmp_path, *nasty(), name=NASTY)
    done = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=20000", "--dump-dom", f"file://{tmp_path / 'study' / 'study.html'}",
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    pictures_drawn = re.findall(r'<div id="([a-z0-9-]+)" role="img"[^>]*class="js-plotly-plot"', done.stdout)
    assert set(pictures_drawn) == ALL
    assert "<i id=" not in done.stdout

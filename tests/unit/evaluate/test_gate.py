import pytest

from raymle.config import PromoteConfig, Spec
from raymle.evaluate import gate
from raymle.evaluate.ledger import Entry
from raymle.records import Column, Schema, ScoredRun


def opening(label="test", rows=500, number=1, **aucs):
    runs = tuple(ScoredRun(run_id=run, metrics={"roc_auc": auc}, label=label) for run, auc in aucs.items())
    return Entry(
        number=number, previous="", when="", splits_id="s", label=label, rows=rows, spent="", runs=runs
    )  # fmt: skip


def judge(chain, champion=None, metric="roc_auc", **config):
    return gate.judge(PromoteConfig(**config), "new", chain, metric=metric, champion=champion)


def test_a_good_score_on_fresh_rows_passes():
    verdict = judge([opening(new=0.9)], require=("roc_auc >= 0.85",), min_fresh_rows=500)
    assert verdict.passed
    assert verdict.reasons == ()


@pytest.mark.parametrize(
    ("chain", "champion", "config", "says"),
    [
        ([], None, {}, "never scored"),
        ([opening(other=0.9)], None, {}, "never scored"),
        ([opening("validation", new=0.9)], None, {}, "were spent before: it is no test"),
        ([opening(rows=99, new=0.9)], None, {}, "rests on 99 fresh rows, promote.min_fresh_rows asks for 100"),
        ([opening(new=0.8)], None, {"require": ("roc_auc >= 0.85",)}, "roc_auc is 0.8, roc_auc >= 0.85 is required"),
        ([opening(new=0.9)], None, {"require": ("f1 > 0",)}, "f1 was not measured"),
        ([opening(new=0.9)], "old", {}, "was not scored in the same opening"),
        ([opening("validation", new=0.9, old=0.8), opening(new=0.9)], "old", {}, "not scored in the same opening"),
        ([opening(new=0.9, old=0.91)], "old", {}, "the champion, run old, has a roc_auc of 0.91, run new 0.9"),
        ([opening(new=0.9, old=0.8)], "old", {"metric": "rmse"}, "rmse was not measured for run new"),
    ],
)  # fmt: skip
def test_a_refusal_says_why_and_what_now_in_two_sentences(chain, champion, config, says):
    metric = config.pop("metric", "roc_auc")
    verdict = judge(chain, champion, metric, **config)
    assert not verdict.passed
    assert len(verdict.reasons) == 2
    assert says in verdict.reasons[0]
    assert all(reason.endswith(".") for reason in verdict.reasons)


def test_a_refusal_names_everything_that_fails():
    verdict = judge([opening(rows=5, new=0.6, old=0.7)], "old", require=("roc_auc >= 0.85",))
    for part in ("5 fresh rows", "roc_auc >= 0.85", "champion"):
        assert part in verdict.reasons[0]


def test_equal_to_the_champion_is_good_enough():
    assert judge([opening(new=0.9, old=0.9)], "old").passed


def test_the_latest_opening_with_the_champion_counts():
    chain = [opening(new=0.9, old=0.8), opening(number=2, new=0.7, old=0.8), opening(number=3, new=0.95)]
    assert not judge(chain, "old").passed
    assert judge(chain).passed


def test_less_error_is_better():
    runs = tuple(
        ScoredRun(run_id=run, metrics={"rmse": rmse}, label="test") for run, rmse in (("new", 1.0), ("old", 2.0))
    )
    chain = [opening().model_copy(update={"runs": runs})]
    assert judge(chain, "old", metric="rmse").passed


@pytest.mark.parametrize(
    ("condition", "met"),
    [("a >= 0.5", True), ("a > 0.5", False), ("a <= 0.5", True), ("a < 0.5", False), ("a == 5e-1", True), ("b > 0", False)],
)  # fmt: skip
def test_conditions_mean_what_they_say(condition, met):
    assert (not gate.failing([condition], {"a": 0.5, "nan": float("nan")})) == met


def test_a_metric_that_is_no_number_fails():
    assert gate.failing(["nan >= 0"], {"nan": float("nan")})


def side(method="hash", seed=0, key=("id",), types=None, by=None, **fractions):
    columns = {"id": "number", "group": "category", "x": "number", "y": "boolean", **(types or {})}
    roles = {"id": "key" if "id" in key else "feature", "group": "group", "y": "target"}
    split = {"method": method, "seed": seed, "by": by, **({"fractions": fractions} if fractions else {})}
    spec = Spec.model_validate(
        {
            "name": "n",
            "data": {"source": "a", "target": "y", "key": key, "group": "group", "time": "when"},
            "split": split,
        }
    )
    return spec, Schema(
        columns=tuple(Column(name=name, type=kind, role=roles.get(name, "feature")) for name, kind in columns.items()),
        target="y",
        task="classification",
        deciding=("group",) if method == "group" else key or tuple(sorted(columns)),
    )


@pytest.mark.parametrize(
    "other",
    [
        side(), side(types={"more": "number"}),  # a column more does not move a keyed row
    ],
)  # fmt: skip
def test_the_same_split_rule_keeps_rows_on_their_side(other):
    assert gate.may_have_trained(side(), other) == ""


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (side(seed=1), "split.seed is 1 there and 0 here"),
        (
            side(train=0.7, validation=0.2, test=0.1),
            "split.fractions is 0.7/0.2/0.1 there and 0.8/0.1/0.1 here",
        ),
        (side(method="group"), "split.method is group there and hash here"),
        (side(key=()), "decided the split"),
    ],
)
def test_another_seed_split_or_key_may_have_trained_on_the_rows(other, says):
    assert says in gate.may_have_trained(side(), other)


@pytest.mark.parametrize("method", ["stratified", "time"])
def test_methods_that_move_rows_never_promise(method):
    assert "moves rows" in gate.may_have_trained(side(method=method), side(method=method))


def test_without_a_key_another_column_moves_every_row():
    assert gate.may_have_trained(side(key=()), side(key=())) == ""
    assert gate.may_have_trained(side(key=()), side(key=(), types={"more": "number"}))


def test_a_group_keeps_its_side_whatever_the_key():
    assert gate.may_have_trained(side("group"), side("group", key=())) == ""

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymle.errors import SpecError
from raymle.tune import space

FAMILIES = {
    "model": {
        "choice": [
            {
                "type": "mlp",
                "params": {"hidden": {"choice": [[64], [256, 128]]}, "dropout": {"uniform": [0.0, 0.5]}},
            },
            {"type": "trees"},
        ]
    },
    "train.optimizer.learning_rate": {"loguniform": [1e-4, 1e-1]},
}


def draw(tree, params):
    return space.suggest(optuna.trial.FixedTrial(params), space.parse(tree))


def test_every_range_draws_its_own_kind_of_value():
    tree = {
        "train.optimizer.learning_rate": {"loguniform": [1e-4, 1e-1]},
        "train.optimizer.weight_decay": {"quniform": [0.0, 0.1, 0.05]},
        "train.batch_size": {"quniform": [256, 1024, 256]},
        "train.epochs": {"int": [1, 8]},
        "model.params.activation": {"choice": ["relu", "gelu"]},
        "model.params.dropout": {"uniform": [0.0, 0.5]},
    }
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for _ in range(20):
        values = space.suggest(study.ask(), space.parse(tree))
        assert 1e-4 <= values["train.optimizer.learning_rate"] <= 1e-1
        assert values["train.optimizer.weight_decay"] in (0.0, 0.05, 0.1)
        assert values["train.batch_size"] in (256, 512, 768, 1024)
        assert isinstance(values["train.batch_size"], int)
        assert values["train.epochs"] in range(1, 9)
        assert values["model.params.activation"] in ("relu", "gelu")


def test_a_range_inside_an_option_is_drawn_only_with_that_option():
    lr = {"train.optimizer.learning_rate": 0.01}
    assert draw(FAMILIES, {"model": "trees", **lr}) == {"model": {"type": "trees"}, **lr}
    mlp = {"model": "mlp", "model[mlp].params.hidden": "[256, 128]", "model[mlp].params.dropout": 0.1}
    assert draw(FAMILIES, {**mlp, **lr})["model"] == {
        "type": "mlp",
        "params": {"hidden": [256, 128], "dropout": 0.1},
    }


def test_options_that_are_lists_come_back_as_lists():
    assert draw({"model.params.hidden": {"choice": [[64], [64, 32]]}}, {"model.params.hidden": "[64, 32]"}) == {
        "model.params.hidden": [64, 32]
    }


def test_the_text_1_and_the_number_1_and_true_stay_what_they_are():
    drawn = [
        draw({"model.params.a": {"choice": [1, True, None]}}, {"model.params.a": name})["model.params.a"]
        for name in ("1", "true", "null")
    ]
    assert drawn == [1, True, None]
    assert drawn[1] is True
    assert set(space.parse({"model.params.a": {"choice": [1, "1"]}})["model.params.a"].options) == {
        "1#0",
        "1#1",
    }


def test_two_options_of_one_type_are_told_apart():
    node = space.parse({"model": {"choice": [{"type": "mlp"}, {"type": "mlp", "params": {"hidden": [8]}}]}})["model"]
    assert list(node.options) == ["mlp#0", "mlp#1"]


def test_a_range_may_sit_inside_a_mapping_without_a_choice():
    tree = {"model": {"type": "mlp", "params": {"dropout": {"uniform": [0, 1]}}}}
    assert draw(tree, {"model.params.dropout": 0.5}) == {"model": {"type": "mlp", "params": {"dropout": 0.5}}}


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("data.target", {"choice": ["a"]}, "data.target can't be searched"),
        ("split.seed", {"int": [0, 3]}, "split.seed can't be searched"),
        ("train.workers", {"int": [1, 2]}, "how a trial runs"),
        ("train.resources.cpu", {"int": [1, 2]}, "how a trial runs"),
        ("train.epochs", 3, "train.epochs has no range: 3"),
        ("train.epochs", {"int": [1.5, 3]}, "int needs whole numbers"),
        ("train.epochs", {"int": [3, 1]}, "low must be below high"),
        ("train.epochs", {"int": [3]}, r"int needs \[low, high\]"),
        ("train.optimizer.learning_rate", {"loguniform": [0, 1]}, "more than 0"),
        ("train.optimizer.learning_rate", {"loguniform": ["1e-4", 1]}, "as numbers"),
        ("train.optimizer.learning_rate", {"uniform": [0, float("inf")]}, "as numbers"),
        ("train.batch_size", {"quniform": [1, 2, 5]}, "step 5 does not fit"),
        ("model.params.a", {"choice": []}, "a list of options"),
        ("model.params.a", {"choice": "relu"}, "a list of options"),
        ("model.params.a", {"choise": [1, 2]}, "has no range"),
        (
            "model",
            {"choice": [{"type": "mlp", "params": {"dropout": {"uniform": [1, 0]}}}]},
            r"model\[mlp\].params.dropout",
        ),
    ],
)
def test_a_wrong_range_is_named_by_its_path(path, value, says):
    with pytest.raises(SpecError, match=says):
        space.parse({path: value})


def test_an_empty_space_says_how_to_write_one():
    with pytest.raises(SpecError) as error:
        space.parse({})
    assert "loguniform" in error.value.hint


def test_two_ranges_one_inside_the_other_are_refused():
    with pytest.raises(SpecError, match=r"model.params.hidden lies inside model"):
        space.parse({"model": {"choice": [{"type": "mlp"}]}, "model.params.hidden": {"choice": [[1]]}})


def test_the_grid_holds_each_combination_once_and_no_impossible_one():
    tree = {"model": {"choice": [{"type": "mlp", "params": {"hidden": {"choice": [[8], [16]]}}}, {"type": "trees"}]},
            "train.epochs": {"int": [1, 2]}}  # fmt: skip
    points = space.grid(space.parse(tree))
    drawn = [draw(tree, point) for point in points]
    assert len(drawn) == 6
    assert all(drawn.count(value) == 1 for value in drawn)
    with pytest.raises(SpecError, match="no finite number"):
        space.grid(space.parse({"model.params.dropout": {"uniform": [0, 1]}}))


def test_the_probes_show_every_option_and_both_ends():
    shown = list(space.probes(space.parse(FAMILIES)))
    assert ("model", {"type": "trees"}) in shown
    assert ("train.optimizer.learning_rate", 1e-1) in shown
    assert [value["params"]["hidden"] for _, value in shown if isinstance(value, dict) and "params" in value] == [
        [64],
        [256, 128],
    ]


def test_flat_names_what_differs():
    assert space.flat({"model": {"type": "mlp", "params": {"hidden": [8]}}, "train.epochs": 2}) == {
        "model.type": "mlp", "model.params.hidden": [8], "train.epochs": 2,
    }  # fmt: skip


leaves = st.one_of(
    st.tuples(st.integers(-5, 5), st.integers(6, 9)).map(lambda ends: {"int": list(ends)}),
    st.tuples(st.integers(0, 3), st.integers(4, 40), st.integers(1, 4)).map(
        lambda ends: {"quniform": [ends[0], ends[0] + ends[1], ends[2]]}
    ),
    st.lists(st.one_of(st.integers(), st.text(), st.none(), st.booleans()), min_size=1).map(
        lambda some: {"choice": some}
    ),
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(
        st.one_of(inner, st.dictionaries(st.sampled_from(["type", "a", "b"]), inner, min_size=2)),
        min_size=1,
        max_size=3,
    ).map(lambda some: {"choice": some}),
    max_leaves=8,
)


@given(trees, st.integers(0, 2**31))
def test_any_nested_space_draws_one_of_its_grid_points(tree, seed):
    parsed = space.parse({"model": tree})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    trial = study.ask()
    value = space.suggest(trial, parsed)
    points = space.grid(parsed)
    assert trial.params in points
    assert space.suggest(optuna.trial.FixedTrial(trial.params), parsed) == value


optuna.logging.set_verbosity(optuna.logging.ERROR)

"""A population's new settings."""

from hypothesis import given
from hypothesis import strategies as st

from raymle.tune import space
from raymle.tune.explore import explore

SPACE = space.parse(
    {
        "train.optimizer.learning_rate": {"loguniform": [1e-4, 1e-1]},
        "train.optimizer.type": {"choice": ["adam", "sgd"]},
        "train.optimizer.clip_norm": {"quniform": [0.5, 2.5, 0.5]},
        "model.params.dropout": {"uniform": [0.1, 0.9]},
    }
)


@given(
    st.floats(1e-4, 1e-1), st.sampled_from(["adam", "sgd"]), st.integers(1, 5), st.floats(0.1, 0.9), st.integers(0, 99)
)
def test_new_settings_are_within_the_space_and_the_same_for_the_same_seed(rate, kind, steps, dropout, seed):
    values = dict(zip(SPACE, (rate, kind, steps / 2, dropout), strict=True))
    new = explore(values, SPACE, seed=seed)
    assert new == explore(values, SPACE, seed=seed)
    assert 1e-4 <= new["train.optimizer.learning_rate"] <= 1e-1
    assert new["train.optimizer.type"] in {"adam", "sgd"}
    assert new["train.optimizer.clip_norm"] in {0.5, 1.0, 1.5, 2.0, 2.5}
    assert 0.1 <= new["model.params.dropout"] <= 0.9


def test_most_numbers_move_by_a_fifth():
    values = {
        "train.optimizer.learning_rate": 0.01,
        "train.optimizer.type": "adam",
        "train.optimizer.clip_norm": 1.0,
        "model.params.dropout": 0.5,
    }
    moved = [explore(values, SPACE, seed=seed)["model.params.dropout"] for seed in range(200)]
    near = [each for each in moved if round(each, 6) in {0.4, 0.6}]
    assert 0.6 < len(near) / len(moved) < 0.9
    assert {round(each, 6) for each in near} == {0.4, 0.6}

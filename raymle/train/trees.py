"""Boosted trees by LightGBM, in this process; every few rounds count as an epoch."""

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from raymle.config.train import TrainConfig
from raymle.data.shards import Arrays
from raymle.errors import WorkError
from raymle.model.params import TreesParams
from raymle.records import Epoch, Metrics
from raymle.train.check import ROUNDS_PER_EPOCH
from raymle.train.objective import Objective

if TYPE_CHECKING:
    from lightgbm import Booster

LOSSES = {"absolute_error": "regression_l1", "huber": "huber"}
"""LightGBM's names; the others are its default."""
BATCH_ROWS = 65_536


def epochs(
    params: TreesParams, train: Arrays, validation: Arrays, config: TrainConfig, *, objective: Objective
) -> Generator[Epoch, bool | None, tuple["Booster", Epoch, int]]:
    """Boost, report every 20 rounds, and return the booster cut at its best epoch, that epoch, and the count.

    ``train.early_stopping.patience`` counts these epochs; ``model.params.rounds`` is the most rounds.
    """
    import lightgbm

    booster = lightgbm.Booster(settings(params, config, objective), dataset(train, objective))
    raw: Any = 0.0
    best: Epoch | None = None
    number = 0
    while booster.current_iteration() < params.rounds:
        done, started = booster.current_iteration(), time.monotonic()
        grow(booster, min(ROUNDS_PER_EPOCH, params.rounds - done))
        grown = booster.current_iteration() - done
        if not grown and best is not None:  # no split is worth making any more
            break
        seconds = time.monotonic() - started
        raw = raw + margins(booster, validation, start=done, count=grown)
        number += 1
        scores = evaluate(np.asarray(raw), validation, objective)
        scores |= {
            "learning_rate": params.learning_rate,
            "rows_per_second": len(train.numbers) * grown / seconds,
        }
        if not np.isfinite(scores["validation_loss"]):
            raise WorkError(
                f"training stopped: the validation loss is not finite after {booster.current_iteration()} rounds",
                hint="lower model.params.learning_rate, or look for extreme values with `raymle data show`",
            )
        is_best = best is None or objective.rank(scores) > objective.rank(best.metrics)
        report = Epoch(epoch=number, step=booster.current_iteration(), metrics=scores, best=is_best)
        best = report if is_best or best is None else best
        stop = yield report
        if stop or (config.early_stopping and number - best.epoch >= config.early_stopping.patience):
            break
    if best is None:
        raise WorkError("the trees found nothing to split on", hint="use model.type=mlp, or more rows")
    cut = lightgbm.Booster(model_str=booster.model_to_string(num_iteration=best.step))
    return cut, best, number


def settings(params: TreesParams, config: TrainConfig, objective: Objective) -> dict[str, Any]:
    """Return LightGBM's parameters; the same seed and threads give the same trees."""
    own = params.model_dump(exclude={"rounds"})
    goal: dict[str, Any] = {"objective": LOSSES.get(objective.loss, "regression")}
    if objective.task == "classification":
        goal = {"objective": "binary"} if objective.outputs == 2 else {"objective": "multiclass"}
        goal |= {"num_class": objective.outputs} if objective.outputs > 2 else {}
    bagging = {"bagging_freq": 1} if params.bagging_fraction < 1 else {}
    fixed = {
        "num_threads": threads(),
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    return own | goal | bagging | fixed


def threads() -> int:
    """Return how many threads LightGBM gets: as many as torch, which an actor's are by what Ray allows it."""
    import torch

    return torch.get_num_threads()


def dataset(train: Arrays, objective: Objective) -> Any:
    """Put numbers and codes beside each other, the codes as categories; only LightGBM's bins stay in memory."""
    import lightgbm

    class Rows(lightgbm.Sequence):
        batch_size = BATCH_ROWS

        def __len__(self) -> int:
            return len(train.numbers)

        def __getitem__(self, rows: Any) -> npt.NDArray[np.float64]:
            return beside(train, rows)

    numbers = train.numbers.shape[1]
    return lightgbm.Dataset(
        Rows(),
        objective.targets(train.target).numpy(),
        categorical_feature=list(range(numbers, numbers + train.codes.shape[1])),
        params={"verbosity": -1, "max_bin": 255, "feature_pre_filter": False},  # whatever min_data_in_leaf says
        free_raw_data=True,
    )


def beside(arrays: Arrays, rows: Any) -> npt.NDArray[np.float64]:
    """Return the numbers and codes of some rows as LightGBM takes them: float64 ``[n, a + b]``, or one row."""
    return np.concatenate([arrays.numbers[rows], arrays.codes[rows]], axis=-1, dtype=np.float64)


def margins(booster: "Booster", arrays: Arrays, *, start: int, count: int) -> npt.NDArray[np.float64]:
    """Return what some of the trees add to the raw scores of all rows."""
    firsts = range(0, len(arrays.numbers), BATCH_ROWS)
    parts = [
        booster.predict(
            beside(arrays, slice(first, first + BATCH_ROWS)), raw_score=True, start_iteration=start, num_iteration=count
        )
        for first in firsts
    ]
    return np.concatenate(parts)


def grow(booster: "Booster", rounds: int) -> None:
    """Add trees until the rounds are done or no split is worth making."""
    for _ in range(rounds):
        if booster.update():
            return


def evaluate(raw: npt.NDArray[Any], validation: Arrays, objective: Objective) -> Metrics:
    """Return the loss and the deciding metric over the validation rows."""
    import torch

    if objective.outputs == 2:
        raw = np.column_stack([np.zeros_like(raw), raw])  # a logit against zero: softmax is the logistic
    raw = raw.reshape(len(validation.numbers), -1)
    loss = objective.judging()(torch.from_numpy(raw), objective.targets(validation.target))
    score = objective.score(validation.target, objective.predictions(raw))
    return {"validation_loss": float(loss) / max(1, len(raw)), **score}

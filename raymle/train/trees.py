"""One worker's part in growing trees by LightGBM; every few rounds count as an epoch.

Of several workers each has a share of the train rows, and LightGBM adds their histograms up before every split. The
validation rows all of them have, and the first worker's scores decide for all: none can stop where another goes on.
"""

import time
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from raymle.config.train import TrainConfig
from raymle.data import shards
from raymle.data.shards import Arrays
from raymle.errors import WorkError
from raymle.model.params import TreesParams, parameters
from raymle.records import Epoch, Metrics
from raymle.train.check import ROUNDS_PER_EPOCH
from raymle.train.objective import Objective
from raymle.train.peers import Alone, Peers, check_in_step
from raymle.train.task import Task, threads

if TYPE_CHECKING:
    from lightgbm import Booster

Grown = tuple["Booster", Epoch, int]
"""The trees up to the best epoch, that epoch, and how many epochs there were."""
LOSSES = {"absolute_error": "regression_l1", "huber": "huber"}
"""LightGBM's names; the others are its default."""
BATCH_ROWS = 65_536
BIN_ROWS = 200_000
"""Most rows that bins are found from: LightGBM's own number."""


def run(task: Task, peers: Peers | None = None) -> Generator[Epoch, bool | None, Grown]:
    """Grow a task's trees; None grows them alone."""
    splits = shards.here(task.splits, task.storage)
    train, validation = shards.load(splits, "train"), shards.load(splits, "validation")
    params = parameters(task.contents.model)
    return epochs(params, train, validation, task.train, objective=task.objective, peers=peers or Alone())


def epochs(
    params: TreesParams, train: Arrays, validation: Arrays, config: TrainConfig, *, objective: Objective, peers: Peers
) -> Generator[Epoch, bool | None, Grown]:
    """Boost, report every 20 rounds, and return the booster cut at its best epoch, that epoch, and the count.

    ``train.early_stopping.patience`` counts these epochs; ``model.params.rounds`` is the most rounds.
    """
    import lightgbm

    booster = lightgbm.Booster(settings(params, config, objective, peers), share(train, objective, peers))
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
        pace = {"learning_rate": params.learning_rate, "rows_per_second": len(train.numbers) * grown / seconds}
        scores = peers.first(evaluate(np.asarray(raw), validation, objective) | pace)
        check_finite(scores, booster.current_iteration())
        is_best = best is None or _order(scores, objective) > _order(best.metrics, objective)
        report = Epoch(epoch=number, step=booster.current_iteration(), metrics=scores, best=is_best)
        best = report if is_best or best is None else best
        stop = yield report
        if stop or (config.early_stopping and number - best.epoch >= config.early_stopping.patience):
            break
    if best is None:
        raise WorkError("the trees found nothing to split on", hint="use model.type=mlp, or more rows")
    text = without(booster.model_to_string(num_iteration=best.step), peers.network)
    check_in_step(text, peers)
    return lightgbm.Booster(model_str=text), best, number


def _order(scores: Metrics, objective: Objective) -> tuple[float, float]:
    """Return what makes an epoch better than another: the metric, then the loss."""
    return objective.rank(scores), -scores["validation_loss"]


def check_finite(scores: Metrics, rounds: int) -> None:
    """Raise when the trees have left the real numbers."""
    if not np.isfinite(scores["validation_loss"]):
        raise WorkError(
            f"training stopped: the validation loss is not finite after {rounds} rounds",
            hint="lower model.params.learning_rate, or look for extreme values with `raymle data show`",
        )


def settings(params: TreesParams, config: TrainConfig, objective: Objective, peers: Peers) -> dict[str, Any]:
    """Return LightGBM's parameters; the same seed and threads give the same trees."""
    own = params.model_dump(exclude={"rounds"})
    goal: dict[str, Any] = {"objective": LOSSES.get(objective.loss, "regression")}
    if objective.task == "classification":
        goal = {"objective": "binary"} if objective.outputs == 2 else {"objective": "multiclass"}
        goal |= {"num_class": objective.outputs} if objective.outputs > 2 else {}
    bagging = {"bagging_freq": 1} if params.bagging_fraction < 1 else {}
    fixed = {
        "num_threads": threads(config),
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    shared = {"tree_learner": "data", "pre_partition": True, **peers.network} if peers.size > 1 else {}
    return own | goal | bagging | fixed | shared


def without(text: str, names: Iterable[str]) -> str:
    """Leave parameters out of LightGBM's text: where the workers were is no part of a model."""
    starts = tuple(f"[{name}: " for name in names)
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(starts))


def share(train: Arrays, objective: Objective, peers: Peers) -> Any:
    """Return a worker's rows: one of as many as there are workers, so that each has its part of a sorted table too.

    Bins of its own rows alone would be wrong for the others' rows: each worker finds those of the whole table, before
    LightGBM knows of the others.
    """
    if peers.size == 1:
        return dataset(train, objective)
    rows = len(train.numbers)
    sample = np.sort(np.random.default_rng(0).choice(rows, min(rows, BIN_ROWS), replace=False))
    bins = dataset(train, objective, sample)
    return dataset(train, objective, slice(peers.rank, None, peers.size), bins=bins).construct()


def dataset(train: Arrays, objective: Objective, rows: Any = slice(None), *, bins: Any = None) -> Any:
    """Put numbers and codes of some rows beside each other, the codes as categories; only LightGBM's bins stay.

    ``bins`` is a dataset that has them already; None finds them.
    """
    import lightgbm

    numbers, codes = train.numbers[rows], train.codes[rows]

    class Rows(lightgbm.Sequence):
        batch_size = BATCH_ROWS

        def __len__(self) -> int:
            return len(numbers)

        def __getitem__(self, some: Any) -> npt.NDArray[np.float64]:
            return beside(numbers[some], codes[some])

    return lightgbm.Dataset(
        Rows(),
        objective.targets(train.target[rows]).numpy(),
        reference=bins,
        categorical_feature=list(range(numbers.shape[1], numbers.shape[1] + codes.shape[1])),
        params={"verbosity": -1, "max_bin": 255, "feature_pre_filter": False},  # whatever min_data_in_leaf says
        free_raw_data=True,
    )


def beside(numbers: npt.NDArray[np.float32], codes: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Return numbers and codes as LightGBM takes them: float64 ``[n, a + b]``, or one row."""
    return np.concatenate([numbers, codes], axis=-1, dtype=np.float64)


def margins(booster: "Booster", arrays: Arrays, *, start: int, count: int) -> npt.NDArray[np.float64]:
    """Return what some of the trees add to the raw scores of all rows."""
    batches = [slice(first, first + BATCH_ROWS) for first in range(0, len(arrays.numbers), BATCH_ROWS)]
    parts = [
        booster.predict(
            beside(arrays.numbers[rows], arrays.codes[rows]), raw_score=True, start_iteration=start, num_iteration=count
        )
        for rows in batches
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
    loss = objective.judging()(torch.from_numpy(raw).float(), objective.targets(validation.target))
    score = objective.score(validation.target, objective.predictions(raw))
    return {"validation_loss": float(loss) / max(1, len(raw)), **score}

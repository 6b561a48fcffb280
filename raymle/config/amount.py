"""How long and how fast a model is trained where the spec leaves it open: small tables need many small steps."""

from collections.abc import Mapping
from math import ceil
from typing import Any, TypeVar, cast

from raymle.config.base import Section
from raymle.config.model import ModelConfig
from raymle.config.spec import Spec
from raymle.config.train import AUTO, TrainConfig

PATHS = ("batch_size", "epochs", "optimizer.learning_rate", "optimizer.schedule", "early_stopping.patience")
"""Settings of ``train`` that may be left open."""
LEAST_BATCH, MOST_BATCH = 32, 1024
STEPS_PER_EPOCH, STEPS = 100, 1500
"""How many steps an epoch and a training shall have about; enough for the packaged sets of `benchmarks/quality.py`."""
LEAST_EPOCHS, MOST_EPOCHS = 5, 50
RATE, LINEAR_RATE, TUNED_RATE = 1e-3, 1e-2, 5e-5
"""Step sizes: of networks, of a linear model, and of a transformer that others trained, as Hugging Face's Trainer."""
HEAD = "layers"
"""Begins the names of the layers that are not a transformer's own."""
LEAST_PATIENCE, PATIENT = 3, 10
"""Least epochs without a better one, and how many times these fit into all."""

Amount = float | str
AnySection = TypeVar("AnySection", bound=Section)


def settled(train: TrainConfig, model: ModelConfig, rows: int) -> TrainConfig:
    """Return the settings with nothing left at ``auto``.

    A batch is about a hundredth of the rows, a power of two from 32 to 1,024; epochs are as many as come to 1,500
    steps, from 5 to 50; patience is a tenth of the epochs, at least 3, and 3 of trees.

    Args:
        train: The settings.
        model: What is trained.
        rows: Train rows.
    """
    batch = train.batch_size or _batch(rows)
    epochs = train.epochs or _epochs(ceil(rows / batch))
    patience = LEAST_PATIENCE if model.is_grown else max(LEAST_PATIENCE, ceil(epochs / PATIENT))
    schedule = "cosine" if model.type == "linear" and train.optimizer.learning_rate == AUTO else "none"
    return _filled(train, dict(zip(PATHS, (batch, epochs, _rate(train, model), schedule, patience), strict=True)))


def settled_spec(spec: Spec, rows: int) -> Spec:
    """Return a spec whose training is settled."""
    return spec.model_copy(update={"train": settled(spec.train, spec.model, rows)})


def left_open(train: TrainConfig, begun: TrainConfig | None = None) -> tuple[str, ...]:
    """Return the dotted paths of what follows rows and model, but for what earlier settings have not at all."""
    open_paths = [path for path in PATHS if _is_open(train, path)]
    return tuple(f"train.{path}" for path in open_paths if begun is None or _value(begun, path) is not None)


def as_begun(spec: Spec, begun: Spec) -> Spec:
    """Return a spec with what an earlier attempt began with in place of ``auto``."""
    there = {path: amount for path in PATHS if (amount := _value(begun.train, path)) is not None}
    return spec.model_copy(update={"train": _filled(spec.train, there)})


def _filled(train: TrainConfig, amounts: Mapping[str, Amount]) -> TrainConfig:
    for path, amount in amounts.items():
        train = _set(train, path, amount) if _is_open(train, path) else train
    return train


def _is_open(train: TrainConfig, path: str) -> bool:
    return _value(train, path) in {AUTO, "auto"}


def _value(train: TrainConfig, path: str) -> Amount | None:
    """Return what is at a path; None where its section is null."""
    found: Any = train
    for name in path.split("."):
        found = getattr(found, name, None)
    return cast("Amount | None", found)


def _set(section: AnySection, path: str, value: Amount) -> AnySection:
    name, _, rest = path.partition(".")
    return section.model_copy(update={name: _set(getattr(section, name), rest, value) if rest else value})


def _batch(rows: int) -> int:
    wanted: int = 2 ** max(0, (rows // STEPS_PER_EPOCH).bit_length() - 1)
    return min(MOST_BATCH, max(LEAST_BATCH, wanted))


def _epochs(steps: int) -> int:
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, ceil(STEPS / max(1, steps))))


def _rate(train: TrainConfig, model: ModelConfig) -> float:
    if model.is_hugging_face:
        is_kept = all(glob.partition(".")[0] == HEAD for glob in train.pretrained.trainable or ["*"])
        return RATE if is_kept else TUNED_RATE
    return LINEAR_RATE if model.type == "linear" else RATE

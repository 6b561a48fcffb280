"""How long and how fast a model is trained where the spec leaves it open: small tables need many small steps."""

from collections.abc import Mapping
from math import ceil
from typing import Any, TypeVar, cast

from raymle.config.base import Section
from raymle.config.model import ModelConfig
from raymle.config.spec import Spec
from raymle.config.train import AUTO, TrainConfig

PATHS = ("batch_size", "epochs", "optimizer.learning_rate", "early_stopping.patience")
"""Settings of ``train`` that may be left open."""
LEAST_BATCH, MOST_BATCH = 32, 1024
STEPS_PER_EPOCH, STEPS = 100, 1500
"""How many steps an epoch and a training shall have about; enough for the packaged sets of `benchmarks/quality.py`."""
LEAST_EPOCHS, MOST_EPOCHS = 5, 50
RATE, LINEAR_RATE, TUNED_RATE = 1e-3, 1e-2, 5e-5
"""Step sizes: of networks, of a linear model, and of a transformer that others trained, as Hugging Face's Trainer."""
LEAST_PATIENCE, PATIENT = 3, 10
"""Least epochs without a better one, and how many times these fit into all."""

AnySection = TypeVar("AnySection", bound=Section)


def settled(train: TrainConfig, model: ModelConfig, rows: int) -> TrainConfig:
    """Return the settings with numbers in place of ``auto``.

    A batch is about a hundredth of the rows, a power of two from 32 to 1,024; epochs are as many as come to 1,500
    steps, from 5 to 50; patience is a tenth of the epochs, at least 3.

    Args:
        train: The settings.
        model: What is trained.
        rows: Train rows.
    """
    batch = train.batch_size or _batch(rows)
    epochs = train.epochs or _epochs(ceil(rows / batch))
    patience = LEAST_PATIENCE if model.is_grown else max(LEAST_PATIENCE, ceil(epochs / PATIENT))
    return _filled(train, dict(zip(PATHS, (batch, epochs, _rate(train, model), patience), strict=True)))


def settled_spec(spec: Spec, rows: int) -> Spec:
    """Return a spec whose training is settled."""
    return spec.model_copy(update={"train": settled(spec.train, spec.model, rows)})


def left_open(train: TrainConfig) -> tuple[str, ...]:
    """Return the dotted paths of what follows rows and model."""
    return tuple(f"train.{path}" for path in PATHS if _value(train, path) == AUTO)


def as_begun(spec: Spec, begun: Spec) -> Spec:
    """Return a spec with what an earlier attempt began with in place of ``auto``."""
    there = {path: number for path in PATHS if (number := _value(begun.train, path)) is not None}
    return spec.model_copy(update={"train": _filled(spec.train, there)})


def _filled(train: TrainConfig, numbers: Mapping[str, float]) -> TrainConfig:
    for path in numbers:
        train = _set(train, path, numbers[path]) if _value(train, path) == AUTO else train
    return train


def _value(train: TrainConfig, path: str) -> float | None:
    """Return what is at a path; None where its section is null."""
    found: Any = train
    for name in path.split("."):
        found = getattr(found, name, None)
    return cast("float | None", found)


def _set(section: AnySection, path: str, value: float) -> AnySection:
    name, _, rest = path.partition(".")
    return section.model_copy(update={name: _set(getattr(section, name), rest, value) if rest else value})


def _batch(rows: int) -> int:
    wanted: int = 2 ** max(0, (rows // STEPS_PER_EPOCH).bit_length() - 1)
    return min(MOST_BATCH, max(LEAST_BATCH, wanted))


def _epochs(steps: int) -> int:
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, ceil(STEPS / max(1, steps))))


def _rate(train: TrainConfig, model: ModelConfig) -> float:
    if model.type == "linear":
        return LINEAR_RATE
    return TUNED_RATE if model.is_hugging_face and not train.pretrained.trainable else RATE

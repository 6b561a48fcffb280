"""How much a model is trained where the spec leaves it to the rows: small tables need many small steps."""

from math import ceil

from raymle.config.spec import Spec
from raymle.config.train import AUTO, TrainConfig

NAMES = ("batch_size", "epochs")
"""Settings that may follow the rows."""
LEAST_BATCH, MOST_BATCH = 32, 1024
STEPS_PER_EPOCH, STEPS = 100, 1500
"""How many steps an epoch and a training shall have about; enough for the packaged sets of `benchmarks/quality.py`."""
LEAST_EPOCHS, MOST_EPOCHS = 5, 50


def settled(train: TrainConfig, rows: int) -> TrainConfig:
    """Return the settings with numbers in place of ``auto``, for so many train rows.

    A batch is about a hundredth of the rows, a power of two from 32 to 1,024; epochs are as many as come to 1,500
    steps, from 5 to 50.
    """
    batch = train.batch_size if train.batch_size != AUTO else _batch(rows)
    epochs = train.epochs if train.epochs != AUTO else _epochs(ceil(rows / batch))
    return train.model_copy(update={"batch_size": batch, "epochs": epochs})


def settled_spec(spec: Spec, rows: int) -> Spec:
    """Return a spec whose training is settled."""
    return spec.model_copy(update={"train": settled(spec.train, rows)})


def left_open(train: TrainConfig) -> tuple[str, ...]:
    """Return the dotted paths of what follows the rows."""
    return tuple(f"train.{name}" for name in NAMES if getattr(train, name) == AUTO)


def as_begun(spec: Spec, begun: Spec) -> Spec:
    """Return a spec with what an earlier attempt began with in place of ``auto``."""
    there = {name: getattr(begun.train, name) for name in NAMES if getattr(spec.train, name) == AUTO}
    return spec.model_copy(update={"train": spec.train.model_copy(update=there)})


def _batch(rows: int) -> int:
    wanted: int = 2 ** max(0, (rows // STEPS_PER_EPOCH).bit_length() - 1)
    return min(MOST_BATCH, max(LEAST_BATCH, wanted))


def _epochs(steps: int) -> int:
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, ceil(STEPS / max(1, steps))))

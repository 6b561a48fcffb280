"""The ``train`` section: how one model is trained."""

from typing import Annotated, Any, Literal, LiteralString, Self

from pydantic import (
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from raymle.config.base import Reference, Section

AUTO = 0
"""How ``auto`` is kept: the number follows train rows and model, see ``raymle.config.amount``."""


def _or_auto(kind: LiteralString, numbers: Any) -> WrapValidator:
    def read(value: object, number: ValidatorFunctionWrapHandler) -> Any:
        if value == "auto":
            return AUTO
        try:
            return number(value)
        except ValidationError:
            if isinstance(value, str):
                raise PydanticCustomError(kind, "should be a number or auto") from None
            raise

    return WrapValidator(read, json_schema_input_type=numbers | Literal["auto"])


Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_SAID = PlainSerializer(lambda number: number or "auto", return_type=int | float | Literal["auto"])
OpenCount = Annotated[Count, _or_auto("count_type", Count), _SAID]
OpenRate = Annotated[Rate, _or_auto("rate_type", Rate), _SAID]


class OptimizerConfig(Section):
    """How the weights move."""

    type: Literal["adamw", "adam", "sgd", "rmsprop"] = "adamw"
    """torch's optimizer of that name."""
    learning_rate: OpenRate = Field("auto", validate_default=True)
    """Step size; auto: 1e-2 of a linear model, 5e-5 of a Hugging Face transformer that is trained whole, else 1e-3."""
    weight_decay: float = Field(0.01, ge=0, allow_inf_nan=False)
    """Decoupled decay for adamw, L2 for the others."""
    schedule: Literal["auto", "none", "cosine", "one_cycle", "plateau", "warmup"] = "auto"
    """How the learning rate changes over the run; auto: cosine where a linear model's rate is auto too, else
    none; plateau: a tenth after each 2 epochs without a better one."""
    warmup: float = Field(0.0, ge=0, lt=1)
    """Share of all steps over which the rate rises from 0 first; schedule warmup takes 0.1 when it is 0."""
    clip_norm: float | None = Field(1.0, gt=0)
    """Gradient norm to clip at; null never clips."""


class ResourcesConfig(Section):
    """What one worker needs."""

    cpu: float = Field(1, gt=0)
    """CPU cores of one worker."""
    gpu: float = Field(0, ge=0)
    """GPUs of one worker; a fraction shares one."""


class WorkersRange(Section):
    """An elastic number of workers."""

    min: int = Field(ge=1)
    """Start with at least this many."""
    max: int = Field(ge=1)
    """Use at most this many."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min}")
        return self


class EarlyStoppingConfig(Section):
    """When to stop before the last epoch."""

    patience: OpenCount = Field("auto", validate_default=True)
    """Epochs without a better validation metric before the run stops; auto: a tenth of all, at least 3; 3 of trees."""


class PretrainedConfig(Section):
    """Where the first weights come from, and how they are trained further."""

    source: str | None = Field(None, alias="from")
    """A RUN, models:/NAME@alias, a bundle's folder or a .safetensors file; null starts from scratch."""
    exclude: tuple[str, ...] = ()
    """Globs of layers that are not loaded but start fresh, such as layers.4 or embeddings.*."""
    trainable: tuple[str, ...] = ()
    """Globs of layers that are trained, the others are frozen; none means all."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Learning rate of a layer as a share of the next one's: rate * layer_decay ** layers between it and the head."""
    unfreeze: int | None = Field(None, ge=1)
    """Epochs after which one more layer is trained, from the head down; null trains all from the first epoch."""


class TrainConfig(Section):
    """How one model is trained."""

    epochs: OpenCount = Field("auto", validate_default=True)
    """Most passes over the train split; auto: as many as come to 1,500 steps, 5 to 50."""
    batch_size: OpenCount = Field("auto", validate_default=True)
    """Rows of one step, over all workers together; auto: about a hundredth of the train rows, 32 to 1,024."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """How the weights move."""
    loss: str = "auto"
    """auto: cross entropy for classes, squared error for numbers."""
    workers: int | WorkersRange = Field(1)
    """Data-parallel workers, or {min, max} for an elastic group."""
    resources: ResourcesConfig = ResourcesConfig()
    """What one worker needs."""
    backend: Literal["auto", "ddp", "horovod"] = "auto"
    """How several workers agree on gradients; trees have LightGBM's own network, and auto."""
    step_timeout: float = Field(600, ge=3)
    """Seconds without a step after which one of several workers is stuck: all end, with every worker's stacks."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Number format of the forward pass."""
    accumulate: int = Field(1, ge=1)
    """Parts that each worker computes its share of a batch in: less memory, the same step."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of an average of the weights, which is then what is validated and kept; null keeps the weights."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each class label that is spread over all classes."""
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None = None
    """Weight of each class in the loss: balanced is rows / (classes * rows of the class); null weighs all alike."""
    early_stopping: EarlyStoppingConfig | None = EarlyStoppingConfig()
    """When to stop before the last epoch; null runs every epoch."""
    pretrained: PretrainedConfig = PretrainedConfig()
    """Where the first weights come from."""
    shuffle_gib: float = Field(4.0, gt=0, allow_inf_nan=False)
    """GiB of train arrays up to which all rows are shuffled together; a larger table is, in windows of that size."""
    loop: Reference | None = None
    """The user's own loop, module:function."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of initial weights, shuffling and dropout."""

    @model_validator(mode="after")
    def _some_workers(self) -> Self:
        if isinstance(self.workers, int) and self.workers < 1:
            raise ValueError(f"workers is {self.workers}; at least 1 is needed")
        return self

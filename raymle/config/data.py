"""The ``data`` and ``split`` sections: what is read, what each column means, who goes where."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from raymle.config.base import Reference, Section

STEP = re.compile(r"^([1-9]\d*) ?(s|min|h|d|w|month|year)$")
"""Time between two moments."""
ColumnType = Literal["number", "category", "boolean", "text", "image", "timestamp", "sequence"]
Task = Literal["classification", "regression", "anomaly", "forecast"]

SUITED = {
    "forecast": {"split": {"method": "time"}},
    "anomaly": {"split": {"method": "stratified"}, "model": {"type": "autoencoder"}},
}
"""What sections say by default where the task is not an ordinary one."""


def _names(value: Any) -> Any:
    """One name stands for a list of one, null for none."""
    listed = () if value is None else value
    return (listed,) if isinstance(listed, str) else tuple(listed) if isinstance(listed, list) else listed


Names = Annotated[tuple[str, ...], BeforeValidator(_names, json_schema_input_type=tuple[str, ...] | str | None)]


class TextConfig(Section):
    """How the words of text columns become codes."""

    vocabulary: int = Field(1 << 15, ge=256, le=1 << 22)
    """How many codes there are; words are hashed into them, and 0 stands after a text's end."""
    length: int | None = Field(None, ge=1, le=2048)
    """Most words of a text; null takes as many as 95 of 100 texts have, at most 256."""
    tokenizer: str | None = None
    """A Hugging Face tokenizer.json in place of hashed words; needs the extra `text`."""


Side = Annotated[int, Field(ge=4, le=1024)]


class ImageConfig(Section):
    """What images are brought to before a network sees them."""

    size: tuple[Side, Side] | None = None
    """Height and width in pixels; null takes the median of those looked at, at most 64 a side."""
    channels: Literal[1, 3] | None = None
    """1 is grey, 3 are red, green and blue; null is 1 when all that were looked at are grey."""


class SeriesConfig(Section):
    """How moments become windows, for a forecast."""

    window: int = Field(24, ge=1, le=10_000)
    """How many steps back a forecast sees."""
    horizon: int = Field(1, ge=1, le=10_000)
    """How many steps ahead the target is."""
    step: str | float = "auto"
    """Time between two moments: 15min, 1h, 7d, 1month, or a number where data.time is one; auto: the commonest."""
    season: int | Literal["auto"] = "auto"
    """Steps until the series repeats itself, at most window: auto takes 24 of an hour, 7 of a day, 12 of a month."""

    @model_validator(mode="after")
    def _step_and_season(self) -> Self:
        if isinstance(self.step, str) and self.step != "auto" and not STEP.match(self.step):
            raise ValueError(f"step {self.step!r} is not a time such as 15min, 1h, 7d or 1month, nor auto")
        if isinstance(self.step, float) and self.step <= 0:
            raise ValueError(f"step is {self.step:g}; it must be over 0")
        if isinstance(self.season, int) and not 1 <= self.season <= self.window:
            raise ValueError(f"season is {self.season}; it must be from 1 to window, {self.window}")
        return self


class DataConfig(Section):
    """Where the rows are and what their columns mean."""

    source: str = Field(min_length=1)
    """A file, glob, folder or URI: parquet, csv or newline JSON, or images in a sub-folder for each class."""
    target: str = Field(min_length=1)
    """The column to predict."""
    task: Task | None = None
    """What kind of prediction; inferred from the target when absent."""
    key: Names = ()
    """Columns that name a row; never features."""
    group: str | None = None
    """Column whose equal values stay in one split; never a feature."""
    time: str | None = None
    """Column that orders the rows; never a feature."""
    drop: Names = ()
    """Columns to leave out."""
    types: dict[str, ColumnType] = Field(default_factory=dict)
    """Column types that overrule what was inferred."""
    text: TextConfig = TextConfig()
    """How the words of text columns become codes."""
    image: ImageConfig = ImageConfig()
    """What images are brought to."""
    series: SeriesConfig | None = None
    """For a forecast: what a window is; naming it makes the task one."""
    transforms: tuple[Reference, ...] = ()
    """The user's own functions over Arrow tables, applied in order before anything is learned."""

    @property
    def is_forecast(self) -> bool:
        """Whether rows are moments, to be made windows of."""
        return self.task == "forecast" or (self.task is None and self.series is not None)

    @property
    def is_anomaly(self) -> bool:
        """Whether the model learns what is usual, and the target only says which rows are not."""
        return self.task == "anomaly"

    @model_validator(mode="after")
    def _series_is_for_forecasts(self) -> Self:
        if self.series is not None and not self.is_forecast:
            raise ValueError(f"data.series is for forecasts, and data.task is {self.task}")
        if self.is_forecast and self.time is None:
            raise ValueError("the task is a forecast, and data.time names no column")
        if self.is_forecast and self.transforms:
            raise ValueError("a forecast takes no data.transforms: change the table before")
        return self


def suited(data: Any, split: Any, model: Any) -> dict[str, Any]:
    """Return the sections ``split`` and ``model`` with what a task has in place of their common defaults.

    A forecast is judged on later moments; anomalies are few, and some have to be on every side.

    Args:
        data: The section ``data`` as it is written.
        split: Likewise; what it says is kept.
        model: Likewise.
    """
    task = data.get("task") if isinstance(data, dict) else None
    if isinstance(data, dict) and task is None and data.get("series") is not None:
        task = "forecast"
    sections = {"split": split, "model": model}
    for name, defaults in SUITED.get(str(task), {}).items():
        section = {} if sections[name] is None else sections[name]
        sections[name] = {**defaults, **section} if isinstance(section, dict) else section
    return {name: section for name, section in sections.items() if section is not None}


class Fractions(Section):
    """Shares of the rows; they sum to 1."""

    train: float = Field(0.8, gt=0, lt=1)
    """Share to learn from."""
    validation: float = Field(0.1, gt=0, lt=1)
    """Share to choose by."""
    test: float = Field(0.1, ge=0, lt=1)
    """Share that is sealed until the final score."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the fractions sum to {total:g}, not to 1")
        return self


class SplitConfig(Section):
    """Who goes to train, validation and test."""

    method: Literal["hash", "stratified", "group", "time", "column"] = "hash"
    """How a row's side is decided."""
    by: str | None = None
    """For method column: the column that says train, validation or test; null means split, or such sub-folders."""
    fractions: Fractions = Fractions()
    """Shares of the three sides."""
    seed: int = Field(0, ge=0)
    """Another seed, another split."""
    max_drift: float | None = Field(None, gt=0)
    """Refuse when a column's PSI between train and validation or test exceeds this; null only reports."""

    @model_validator(mode="after")
    def _by_needs_column(self) -> Self:
        if self.method != "column" and self.by is not None:
            raise ValueError("split.by goes with method column, and only with it")
        return self

    @property
    def column(self) -> str | None:
        """The column that says which side a row is on, if any; of a folder of images it names the sub-folders."""
        return (self.by or "split") if self.method == "column" else None

"""The ``data`` and ``split`` sections: what is read, what each column means, who goes where."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from raymle.config.base import Reference, Section

ColumnType = Literal["number", "category", "boolean", "text", "image", "timestamp", "sequence"]
Task = Literal["classification", "regression", "anomaly", "forecast"]


def _names(value: Any) -> Any:
    """One name stands for a list of one, null for none."""
    listed = () if value is None else value
    return (listed,) if isinstance(listed, str) else tuple(listed) if isinstance(listed, list) else listed


Names = Annotated[tuple[str, ...], BeforeValidator(_names, json_schema_input_type=tuple[str, ...] | str | None)]


class DataConfig(Section):
    """Where the rows are and what their columns mean."""

    source: str = Field(min_length=1)
    """A file, glob, folder or URI: parquet, csv or newline JSON."""
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
    transforms: tuple[Reference, ...] = ()
    """The user's own functions over Arrow tables, applied in order before anything is learned."""


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
    """For method column: the column that says train, validation or test."""
    fractions: Fractions = Fractions()
    """Shares of the three sides."""
    seed: int = Field(0, ge=0)
    """Another seed, another split."""
    max_drift: float | None = Field(None, gt=0)
    """Refuse when a column's PSI between train and validation or test exceeds this; null only reports."""

    @model_validator(mode="after")
    def _column_needs_by(self) -> Self:
        if (self.method == "column") != (self.by is not None):
            raise ValueError("split.by goes with method column, and only with it")
        return self

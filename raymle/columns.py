"""What a row consists of, as the data has it and as a model is given it."""

from typing import Literal

from raymle.record import Record

ColumnType = Literal["number", "category", "boolean", "text", "image", "timestamp", "sequence"]
Role = Literal["feature", "target", "key", "group", "time", "split", "drop"]
Task = Literal["classification", "regression", "forecast", "anomaly"]


class Column(Record):
    """One column of the source: its type, what it is for, and why we think so."""

    name: str
    type: ColumnType
    role: Role
    reason: str = ""
    also: tuple[Role, ...] = ()
    """Further roles: a key's column may also be the group or the time."""
    shape: tuple[int, int, int] | None = None
    """Channels, height and width that every image of the column is brought to."""
    steps: int | None = None
    """How many values a sequence must have; None takes any number of them."""
    whole: bool = False
    """Whether none of them may be missing."""


class Series(Record):
    """How moments become windows: what a forecast is made from, and of."""

    target: str
    """The column of the moments; the schema's target is what it is, ``horizon`` steps ahead."""
    time: str
    group: str | None = None
    window: int
    horizon: int
    step: float = 0.0
    """Between two moments: microseconds, months where ``monthly``, or what a time that is a number counts in."""
    monthly: bool = False
    season: int = 1
    """Steps after which the series is expected to repeat itself."""
    parts: tuple[str, ...] = ()
    """Parts of the moment that are inputs: those that the data have gone through at least twice."""


class Schema(Record):
    """The contract that later rows are held against; kept with the model."""

    columns: tuple[Column, ...]
    target: str
    task: Literal["classification", "regression"]
    classes: tuple[str, ...] = ()
    positive: str | None = None
    deciding: tuple[str, ...] = ()
    """The source's columns that decide which side a row is on, sorted: the key or group, or all but the target."""
    series: Series | None = None
    """Where the task is a forecast: a row is a window of moments, and the target a number like another."""

    anomaly: bool = False
    """Where the task is anomaly: of the two classes the first is usual, and all that a model learns from."""

    @property
    def kind(self) -> Task:
        """What the task is called: a forecast is a regression over windows, anomalies are a class of two."""
        if self.anomaly:
            return "anomaly"
        return "forecast" if self.series else self.task

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns a model sees, in order."""
        return tuple(column for column in self.columns if column.role == "feature")

    def named(self, role: Role) -> tuple[str, ...]:
        """Names of the columns with that role, in order."""
        return tuple(column.name for column in self.columns if role in {column.role, *column.also})


class TextInput(Record):
    """A column of text: so many codes a row, 0 after its end."""

    column: str
    length: int
    vocabulary: int
    """How many codes there are, 0 included."""


class SequenceInput(Record):
    """A column of steps, each with as many values: ``[steps, width]`` of the numbers, step by step."""

    column: str
    steps: int
    width: int


class ImageInput(Record):
    """A column of images: ``[channels, height, width]`` of the pixels, 0 to 255."""

    column: str
    channels: int
    height: int
    width: int

    @property
    def size(self) -> int:
        """How many pixels a row has."""
        return self.channels * self.height * self.width


class Inputs(Record):
    """What a model is given of a row: numbers, a code of each category (0 is unseen), and what is not a single value.

    The values of sequences stand after the numbers, the codes of texts after those of the categories.
    """

    numbers: int
    categories: tuple[int, ...] = ()
    """How many codes each category has."""
    sequences: tuple[SequenceInput, ...] = ()
    texts: tuple[TextInput, ...] = ()
    images: tuple[ImageInput, ...] = ()

    @property
    def widths(self) -> tuple[int, int, int]:
        """How many numbers, codes and pixels a row has in all."""
        return (
            self.numbers + sum(each.steps * each.width for each in self.sequences),
            len(self.categories) + sum(each.length for each in self.texts),
            sum(each.size for each in self.images),
        )

    @property
    def is_table(self) -> bool:
        """Whether every input is a single value."""
        return not (self.sequences or self.texts or self.images)

"""What one stage hands to the next: frozen, JSON-able, names and references, never live resources."""

from typing import Any, Literal

from pydantic import Field

from raymle.ancestry import Pretrained as Pretrained
from raymle.columns import Column as Column
from raymle.columns import ColumnType as ColumnType
from raymle.columns import ImageInput as ImageInput
from raymle.columns import Inputs as Inputs
from raymle.columns import Role as Role
from raymle.columns import Schema as Schema
from raymle.columns import SequenceInput as SequenceInput
from raymle.columns import Series as Series
from raymle.columns import Task as Task
from raymle.columns import TextInput as TextInput
from raymle.record import Record as Record

Status = Literal["running", "finished", "failed", "killed"]
Label = Literal["test", "validation"]
Metrics = dict[str, float]


class Drift(Record):
    """How far one column's distribution is from train's: PSI, and KS (numbers) or chi-squared p-value."""

    column: str
    split: Literal["validation", "test"]
    psi: float
    statistic: float
    p_value: float


class Seal(Record):
    """The receipt for the sealed test rows: how many, how many were never scored, how many were."""

    rows: int
    fresh: int
    spent: int


class Splits(Record):
    """Prepared data on disk, named by what made it."""

    id: str
    path: str
    sealed: str
    data_fingerprint: str
    data_schema: Schema
    rows: dict[Literal["train", "validation", "test"], int]
    fingerprints: dict[Literal["train", "validation", "test"], str]
    distribution: tuple[Drift, ...] = ()
    warnings: tuple[str, ...] = ()
    reused: bool = False


class Epoch(Record):
    """What one epoch reports.

    ``metrics`` holds train_loss, validation_loss, the validation metrics, learning_rate, grad_norm, rows_per_second.
    """

    epoch: int
    step: int
    metrics: Metrics
    best: bool = False


class Fitted(Record):
    """What one training made."""

    bundle: str
    parameters: int
    epochs: int
    best_epoch: int
    seconds: float
    metrics: Metrics
    workers: int = 1
    threads: int = 1
    """Threads of each worker: with the seed they decide the last bits of the weights."""
    stacked: bool = False
    """Whether it was trained in a stack, by an arithmetic of its own."""
    warnings: tuple[str, ...] = ()
    pretrained: Pretrained | None = None


class Trained(Record):
    """A trained model: where its bundle is and how it did on validation."""

    run_id: str
    name: str
    status: Status
    task: Task
    metric: str
    metrics: dict[str, Metrics]
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    bundle: str
    splits_id: str
    rows: dict[str, int]
    seconds: Metrics
    execution: Literal["inline", "ray"]
    model: str
    parameters: int
    workers: int = 1
    threads: int = 1
    stacked: bool = False
    """Whether it was trained in a stack, as small trials of a study are."""
    epochs: int = 0
    best_epoch: int = 0
    parent: str | None = None
    warnings: tuple[str, ...] = ()
    pretrained: Pretrained | None = None
    study: "Study | None" = None


class Study(Record):
    """What a search did."""

    id: str
    trials: int
    finished: int
    failed: int
    stopped_early: int
    resumed: int = 0
    """Trials of earlier sessions, with those that were running when the last one ended."""
    epochs: int = 0
    """That all trials ran."""
    epochs_saved: int = 0
    """That stopped trials did not run."""
    seconds: float = 0.0
    """Of all sessions."""
    dollars: float = 0.0


class ScoredRun(Record):
    """One candidate's score in one opening."""

    run_id: str
    metrics: Metrics
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    label: Label


class Scored(Record):
    """One opening of the sealed rows."""

    runs: tuple[ScoredRun, ...]
    seal: Seal
    entry: int
    """Number of the ledger entry that recorded it."""
    rows: int = 0
    """Rows that the metrics rest on."""


class Verdict(Record):
    """A gate's answer."""

    passed: bool
    reasons: tuple[str, ...] = ()


class Version(Record):
    """A registered model version, or the refusal of one."""

    name: str
    version: str | None
    alias: str | None
    passed: bool
    reasons: tuple[str, ...] = ()
    replaces: str | None = None
    """The version that was champion when it was judged."""
    served: str = ""
    """Where it is served already."""


class Predicted(Record):
    """What a batch prediction wrote."""

    rows: int
    """Rows with a prediction."""
    output: str
    seconds: float
    quarantined: int = 0
    """Rows without one, because they break the model's contract."""
    quarantine: str | None = None
    """The file with those rows and the reasons."""
    resumed: int = 0
    """Rows that an earlier run had done."""
    warnings: tuple[str, ...] = ()


class Endpoint(Record):
    """A served model."""

    url: str
    model: str
    version: str


class Environment(Record):
    """What packages and what machine made a result."""

    packages: dict[str, str]
    """Version of each installed package, of raymle and of Python."""
    machine: dict[str, str]
    raymle: str = ""
    """sha256 over raymle's own source files: a version has many states; empty where nobody recorded it."""


class Provenance(Record):
    """What a run was made of; kept with its code in the storage, so that it can be made again."""

    digest: str
    """sha256 over the names and contents of the source files in the spec's folder."""
    commit: str | None
    dirty: bool
    environment: Environment
    data_fingerprint: str
    splits: dict[Literal["train", "validation", "test"], str]
    """Fingerprints of the rows on each side."""
    files: dict[str, str] = Field(default_factory=dict)
    """sha256 of what is read from elsewhere, a tokenizer or a Hugging Face model, by the files' absolute paths."""


class Check(Record):
    """One thing that was compared when a run was made again."""

    name: str
    verdict: str
    detail: str = ""


class Reproduced(Record):
    """Whether a run came out the same when it was made again."""

    run_id: str
    verdict: Literal["PASS", "FAIL"]
    checks: tuple[Check, ...]
    seconds: float
    at: str
    """When, in UTC."""

    @property
    def weights(self) -> str:
        """What became of the weights."""
        return next((check.detail for check in self.checks if check.name == "weights"), "")


class Plan(Record):
    """What a verb would do: nothing has been started."""

    verb: str
    what: str
    where: str
    why: str
    steps: tuple[str, ...] = ()
    seconds: float | None = None
    dollars: float = 0.0
    details: dict[str, Any] = Field(default_factory=dict)

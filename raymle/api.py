"""The objects of a driver script, thin over the stages: an experiment, its runs, and what is done with a model."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self, final

from raymle import attempt, cloud, data, loader, pipeline, planning, references, rollout, runtime
from raymle import evaluate as judging
from raymle import promote as promotion
from raymle import reproduce as reproducing
from raymle.comparing import compare as compare
from raymle.config import DataConfig, EvaluateConfig, Spec
from raymle.data import TABLE, shards
from raymle.data import summary as describing
from raymle.delivery import export as export
from raymle.delivery import plan_predict as plan_predict
from raymle.delivery import predict as predict
from raymle.delivery import rollback as rollback
from raymle.delivery import serve as serve
from raymle.errors import ArtifactError, DataError, UsageError
from raymle.evaluate import Evaluated
from raymle.model import read_contents
from raymle.records import Metrics, Plan, Reproduced, Scored, Splits, Trained, Version
from raymle.store import Store, open_store
from raymle.tracking import describe, notes, registry, reopen, shelf
from raymle.tracking.card import card

ABOUT_DATA = set(DataConfig.model_fields) - {"source", "target"}


@final
class Experiment:
    """One spec: ``Experiment.load("raymle.yaml")``, or ``Experiment(name="churn", data=frame, target="churned")``."""

    def __init__(self, *, name: str, data: Any, target: str, **sections: Any) -> None:
        """Make an experiment from Python values.

        Args:
            name: The experiment's name.
            data: A path, glob or URI, or a pandas or Arrow table.
            target: The column to predict.
            sections: Sections of the spec by name; ``data`` keys such as ``key`` and ``drop`` are taken too.
        """
        in_memory = not isinstance(data, str | Path)
        roles = {key: sections.pop(key) for key in tuple(sections) if key in ABOUT_DATA}
        source = TABLE if in_memory else str(data)
        values = {"name": name, "data": {"source": source, "target": target, **roles}, **sections}
        self.spec = loader.from_mapping(values)
        self._table = data if in_memory else None

    @classmethod
    def load(cls, path: str | Path = "raymle.yaml", *overrides: str, profile: str | None = None) -> Self:
        """Read a spec; ``key=value`` overrides a profile, and a profile the file."""
        spec = loader.load(path, overrides, profile)
        made = cls(name=spec.name, data=spec.data.source, target=spec.data.target)
        made.spec = spec
        return made

    def __repr__(self) -> str:
        spec = self.spec
        return f"Experiment({spec.name!r}, {spec.model.type} predicts {spec.data.target!r} from {spec.data.source})"

    def prepare(self) -> Splits:
        """Prepare the splits, or find them prepared; the test rows are sealed."""
        execution = planning.place(self.spec, planning.locate(self.spec, self._table))
        with attempt.untouched(self.spec.storage) as store, runtime.connected(execution):
            return pipeline.prepare(self.spec, store, self._table, execution)

    def show(self, *, output: str | Path | None = None) -> dict[str, Any]:
        """Return each column's type, role and statistics, the target's balance, what looks wrong, and rows by side.

        Everything but the row counts comes from samples of train and validation. ``output`` is an HTML file to write
        the same into.
        """
        splits = self.prepare()
        shown = describing.shown(self.spec.name, splits)
        if output is not None:
            describing.write(Path(output), shown)
        return shown

    def train(
        self, *, key: str | None = None, resume: str | None = None, take_over: bool = False, **overrides: Any
    ) -> "Run":
        """Train once, or go on with the run that ``resume`` names.

        ``take_over`` says that the machine which worked on that run is gone. ``overrides`` are dotted paths with
        ``__`` for the dot: ``train__epochs=3``.
        """
        spec = self._with(overrides)
        return Run(pipeline.train(spec, source=self._table, key=key, resume=resume, take_over=take_over), spec.storage)

    def tune(
        self, *, key: str | None = None, resume: str | None = None, take_over: bool = False, **overrides: Any
    ) -> "Run":
        """Search the ranges of ``tune.space``, or go on with the study that ``resume`` names; return the best run."""
        spec = self._with(overrides)
        return Run(pipeline.search(spec, source=self._table, key=key, resume=resume, take_over=take_over), spec.storage)

    def plan(self, verb: str = "train") -> Plan:
        """Check everything and say what a verb would do; nothing is started or written."""
        return planning.plan(self.spec, verb, source=self._table)

    def _with(self, overrides: dict[str, Any]) -> Spec:
        values = {name.replace("__", "."): value for name, value in overrides.items()}
        spec = loader.override(self.spec, values) if values else self.spec
        cloud.check_storage(spec.storage, in_job=cloud.in_job())
        return spec


@final
class Run:
    """A trained model and what can be done with it."""

    def __init__(self, record: Trained, storage: str) -> None:
        self.record = record
        self.storage = storage

    @classmethod
    def open(cls, ref: str = "last", *, storage: str = "runs") -> Self:
        """Open a run by its id, the start of one, ``last``, or a version of it such as ``models:/churn@champion``."""
        store = open_store(storage)
        return cls(shelf.load(store, references.run_id(store, ref)), storage)

    @property
    def id(self) -> str:
        """The run's id."""
        return self.record.run_id

    @property
    def metrics(self) -> Metrics:
        """The validation metrics."""
        return self.record.metrics.get("validation", {})

    @cached_property
    def store(self) -> Store:
        """Where the run is kept."""
        return open_store(self.storage)

    @property
    def bundle(self) -> Path:
        """The model's folder on this machine."""
        return promotion.bundle(self.store, self.record)

    @property
    def spec(self) -> Spec:
        """The spec that made it."""
        return shelf.load_spec(self.store, self.id)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in self.metrics.items())
        return f"Run({self.id}, {self.record.model}, {self.record.status}: {scores})"

    def _repr_html_(self) -> str:
        return self.record._repr_html_()

    def evaluate(self, source: Any = None) -> Evaluated:
        """Measure on validation, or on labelled rows of your own; as often as you like."""
        return evaluate(self.id, source, storage=self.storage)

    def score(self, *, output: str | Path | None = None) -> Scored:
        """Open the sealed test rows for the final score."""
        return score([self.id], storage=self.storage, output=output)

    def reproduce(self, *, tolerance: float | None = None) -> Reproduced:
        """Make the run again from its raw data and recorded code, and keep with it whether it came out the same."""
        found = reproducing.rerun(self.store, self.record, tolerance=tolerance)
        notes.keep_reproduced(self.store, found)
        _tell(self.store, self.record, tags={"raymle.reproduced": f"{found.verdict} {found.at}"}, text="")
        return found

    def promote(self, *, canary: float | None = None, shadow: bool = False) -> Version:
        """Make the run champion, or return the refusal with its reasons; whoever serves the champion follows.

        Args:
            canary: Make it challenger of the served champion, for so many percent of the requests.
            shadow: Make it challenger that is compared with the champion and answers nobody.
        """
        version = rollout.promote(self.store, self.spec, self.record, canary=canary, shadow=shadow)
        if version.passed and version.alias == "champion":
            notes.note_promotion(self.store, self.id, f"{version.name} version {version.version}")
            _tell(self.store, self.record, tags={"raymle.promoted": f"{version.name} {version.version}"})
        return version


def evaluate(model: str, source: Any = None, *, storage: str = "runs") -> Evaluated:
    """Measure a model on its validation rows, or on labelled rows of your own; no sealed row is read."""
    if source is not None:
        found = references.model(model, storage)
        config, folder = (found.spec.evaluate, found.spec.folder) if found.spec else (EvaluateConfig(), ".")
        words = data.words_of(read_contents(found.bundle).data_schema)
        given = data.resolve(source, folder=".", words=words)
        try:
            return judging.on_table(found.bundle, data.read(given), config=config, folder=folder)
        except DataError:
            data.blame(given, read_contents(found.bundle).data_schema)
            raise
    if references.is_bundle(model):
        raise UsageError(
            f"{model} is a bundle: it has no validation rows with it", hint="name labelled data of your own"
        )
    run = Run.open(model, storage=storage)
    splits = shards.find(run.store, run.record.splits_id)
    if splits is None:
        raise ArtifactError(f"the prepared data of run {run.id} is gone", hint="name labelled data, or train again")
    out = run.store.root / "runs" / run.id / "validation"
    return judging.validation(splits, run.bundle, config=run.spec.evaluate, out=out, folder=run.spec.folder)


def score(refs: Sequence[str], *, storage: str = "runs", output: str | Path | None = None) -> Scored:
    """Open the sealed rows once for all candidates; the champion is scored beside them when it can be."""
    runs = [Run.open(ref, storage=storage) for ref in refs]
    store, spec = runs[0].store, runs[0].spec
    holder = registry.champion(spec.tracking, store, spec.promote.model or spec.name)
    records = {run.id: run.record for run in runs}
    if holder and not promotion.overlap(store, runs[0].record, holder[1]):
        records.setdefault(holder[1], shelf.load(store, holder[1]))
    scored = judging.score(
        store, list(records.values()), [promotion.bundle(store, record) for record in records.values()],
        config=spec.evaluate, output=Path(output) if output else None, folder=spec.folder,
    )  # fmt: skip
    champion = _beside(scored, holder)
    for each in scored.runs:
        if each.label != "test" and judging.was_tested(store, each.run_id):
            continue  # the card keeps the one score that counts
        metrics = (
            {f"{each.label}/{name}": value for name, value in each.metrics.items()} if each.label == "test" else {}
        )
        shown = None if holder and holder[1] == each.run_id else champion
        made_by = shelf.load_spec(store, each.run_id)
        text = card(records[each.run_id], made_by, seal=scored.seal, champion=shown, scored=each)
        _tell(store, records[each.run_id], metrics=metrics, text=text)
    return scored


def _beside(scored: Scored, holder: tuple[str, str] | None) -> dict[str, Any]:
    """Describe the champion for the cards of those scored beside it; empty when there is none."""
    if holder is None:
        return {}
    mine = next((each for each in scored.runs if each.run_id == holder[1]), None)
    return {"version": holder[0], "run_id": holder[1], "metrics": mine.metrics if mine else {}}


def _tell(
    store: Store,
    record: Trained,
    *,
    metrics: Metrics | None = None,
    tags: dict[str, str] | None = None,
    text: str | None = None,
) -> None:
    """Add to a tracked run what was found out later; ``text`` is its new card, an empty one the card that it has."""
    with reopen(shelf.load_spec(store, record.run_id), store, record.run_id) as run:
        run.metrics(metrics or {})
        run.tags(tags or {})
        if text is not None:
            describe(run, store, text)

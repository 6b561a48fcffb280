"""What a run says of itself before its work and after it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raymle.config import Spec
from raymle.records import Seal, Splits, Status, Study, Trained
from raymle.tracking import notes, origin, registry, studies
from raymle.tracking.card import card, stamped
from raymle.tracking.run import Run, start

if TYPE_CHECKING:
    from raymle.store import Store

SECTIONS = ("data", "split", "model", "train", "evaluate")


def describe_inputs(run: Run, spec: Spec, splits: Splits, store: "Store") -> None:
    """Record what goes in: settings, data, code, packages, machine; code and facts are kept in the storage too."""
    run.params({name: value for section in SECTIONS for name, value in flat(section, getattr(spec, section))})
    for side, rows in splits.rows.items():
        digest = splits.fingerprints.get(side, "")
        run.dataset(name=spec.name, digest=digest, source=spec.data.source, context=side, rows=rows)
    made_of = origin.keep(store, run.id, spec, splits)
    run.artifact(store.root / origin.folder(run.id))
    run.tags(
        {
            "raymle.data": splits.data_fingerprint,
            "raymle.splits": splits.id,
            "raymle.source": made_of.digest,
            "raymle.dirty": str(made_of.dirty).lower(),
            "mlflow.source.git.commit": made_of.commit or "none",
            "mlflow.source.name": "raymle",
            **{f"raymle.machine.{name}": value for name, value in made_of.environment.machine.items()},
        }
    )


def record_result(
    run: Run, trained: Trained, spec: Spec, splits: Splits, store: "Store", *, receipt: Seal | None = None
) -> None:
    """Record what came out: metrics, plots, report, the model, and the card.

    Args:
        run: The open run.
        trained: Its record.
        spec: What made it.
        splits: What it was made from.
        store: Where the run is kept.
        receipt: The state of the seal.
    """
    out = store.root / "runs" / run.id
    for label, values in trained.metrics.items():
        run.metrics({f"{label}/{name}": value for name, value in values.items()})
    run.metrics({f"seconds/{name}": value for name, value in trained.seconds.items()})
    run.metrics({"best_epoch": trained.best_epoch, "workers": trained.workers})
    if trained.pretrained and not (out / "pretrained.json").exists():  # it is in an object store
        (out / "pretrained.json").write_text(trained.pretrained.model_dump_json(indent=1))
    for name in ("report.html", "plots", "pretrained.json", "stdout.log"):
        if (out / name).exists():
            run.artifact(out / name)
    run.tags({"raymle.machine.threads": str(trained.threads), **_tags(trained)})
    run.model(Path(trained.bundle), name=spec.name, signature=registry.signature(splits.data_schema))
    describe(run, store, card(trained, spec, seal=receipt))


def _tags(trained: Trained) -> dict[str, str]:
    """Name the model that a run goes on from."""
    if trained.pretrained is None:
        return {}
    parent = trained.pretrained.parent
    return {"raymle.pretrained_from": parent.run_id or parent.asked, "raymle.pretrained_version": parent.version}


def record_study(run: Run, store: "Store", study: Study, *, best: str, name: str, splits: Splits) -> None:
    """Record what a session of a study came to: counts, report, storage, and the best trial's model."""
    before = studies.result(store, study.id)
    if before and (before.best, before.study.trials) == (best, study.trials):
        return  # nothing was added
    counts = ("trials", "finished", "failed", "stopped_early", "epochs", "epochs_saved", "seconds", "dollars")
    run.metrics({each: getattr(study, each) for each in counts}, step=study.trials)
    run.tags({"raymle.best_run": best})
    for file in ("study.html", "optuna.log"):
        path = store.root / "studies" / study.id / file
        if path.exists():
            run.artifact(path)
    if before is None or before.best != best:  # MLflow knows a model by its name
        run.model(
            store.fetch(f"runs/{best}/bundle"), name=f"{name} {best}", signature=registry.signature(splits.data_schema)
        )


def describe(run: Run, store: "Store", text: str = "") -> None:
    """Give a run its card, or the one that it has, with whether it was reproduced."""
    if text:
        notes.keep_card(store, run.id, text)
    run.describe(stamped(text or notes.card(store, run.id), notes.reproduced(store, run.id)))


@contextmanager
def reopen(spec: Spec, store: "Store", run_id: str, *, ends: bool = False) -> Iterator[Run]:
    """Hold an earlier run open for the block, to add to it.

    Args:
        spec: What made the run: it says where it is tracked.
        store: Where its journal is, or a new one goes when it was made on another machine.
        run_id: The run.
        ends: Whether the run ends with the block; else its end stays when it was.
    """
    run = start(spec.tracking, store, experiment=spec.tracking.experiment or spec.name, name=spec.name, run_id=run_id)
    status: Status = "failed"
    try:
        yield run
        status = "finished"
    finally:
        run.finish(status, again=not ends)


def flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield each leaf of a section under its dotted path."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(by_alias=True, mode="json")
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from flat(f"{name}.{key}", child)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)

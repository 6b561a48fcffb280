"""How good a model is on rows whose answers may be looked at: validation, or the user's own."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raymle.config import EvaluateConfig, PromoteConfig
from raymle.data import shards
from raymle.data.own import function
from raymle.data.prepare import apply_all
from raymle.data.schema import conform
from raymle.errors import SpecError
from raymle.evaluate import report
from raymle.evaluate.judged import Evaluated, Judged
from raymle.measure import metrics
from raymle.model import Bundle, load
from raymle.records import Epoch, Schema, Splits


def check(config: EvaluateConfig, promote: PromoteConfig, schema: Schema, *, folder: str) -> None:
    """Find a metric that will not be there before a model is trained for it, or sealed rows are spent on it.

    Raises:
        SpecError: the deciding metric, one that promotion requires, or the user's own does not exist.
    """
    classes = len(schema.classes) or 2  # a plan has not counted them
    metrics.decisive(config.metric, schema.task, classes)
    known = [*metrics.names(schema.task, classes), *user_metrics(config, folder)]
    for condition in promote.require:
        name = condition.split()[0]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise SpecError(f"promote.require {condition!r}: {name} is not a metric of this {schema.task}", hint=hint)


def validation(
    splits: Splits,
    bundle: Path,
    *,
    config: EvaluateConfig,
    out: Path,
    history: Sequence[Epoch] = (),
    folder: str = ".",
    spec: Mapping[str, Any] | None = None,
) -> Evaluated:
    """Measure a bundle on the validation rows and write plots and ``report.html``.

    Args:
        splits: Prepared data.
        bundle: The trained model.
        config: What is measured.
        out: The run's folder.
        history: The epochs, for the learning curves.
        folder: Where the user's own metrics are.
        spec: What made the model, to be shown.
    """
    loaded = load(bundle)
    arrays = shards.load(splits, "validation")
    assert arrays.target is not None
    judged = Judged(
        loaded.schema,
        np.asarray(arrays.target),
        loaded.predict_arrays(arrays.numbers, arrays.codes),
        user_metrics(config, folder),
    )
    facts = report.Facts(
        title=str((spec or {}).get("name", "")) or out.name,
        side="validation",
        model=loaded.contents.model,
        splits=splits,
        history=tuple(history),
        spec=spec or {},
    )
    return _reported(judged, facts, config, out)


def on_table(
    bundle: Path, table: pa.Table, *, config: EvaluateConfig, out: Path | None = None, folder: str = "."
) -> Evaluated:
    """Measure a bundle on labelled rows of the user's own; with ``out``, write plots and report there."""
    loaded = load(bundle)
    needed = tuple(column for column in loaded.schema.columns if column.role in {"feature", "target"})
    schema = loaded.schema.model_copy(update={"columns": needed})
    code = str(bundle / "code")
    raw = [apply_all(rows, references=loaded.contents.transforms, folder=code) for rows in table.to_batches()]
    table = pa.Table.from_batches(raw) if raw else table
    judged = judge(loaded, conform(table, schema), config=config, folder=folder)
    if out is None:
        return judged.measure()
    return _reported(judged, report.Facts(title=bundle.name, side="data", model=loaded.contents.model), config, out)


def judge(bundle: Bundle, table: pa.Table, *, config: EvaluateConfig, folder: str) -> Judged:
    """Predict a conformed table and put the truth beside it."""
    y = bundle.transform.target(table)
    return Judged(bundle.schema, y, bundle.predict(table), user_metrics(config, folder))


def user_metrics(config: EvaluateConfig, folder: str) -> dict[str, metrics.UserMetric]:
    """Import the user's metrics under their functions' names."""
    return {reference.split(":")[1]: function(reference, folder) for reference in config.metrics}


def _reported(judged: Judged, facts: report.Facts, config: EvaluateConfig, out: Path) -> Evaluated:
    found = judged.measure()
    schema = judged.schema
    metric = metrics.decisive(config.metric, schema.task, len(schema.classes))
    page = report.write(out, facts, judged, found, metric=metric)
    return found.model_copy(update={"report": str(page)})

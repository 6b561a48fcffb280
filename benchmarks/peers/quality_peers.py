"""What scikit-learn and LightGBM make of the rows that raymle trains on: their defaults, in an ordinary pipeline."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC

from raymle.records import Schema

Peers = dict[str, Callable[[], Any]]
WHITE = 255


def of(schema: Schema) -> Peers:
    """Return the peers of a kind of data by their names: each makes an estimator that has seen nothing."""
    kinds = {column.type for column in schema.features}
    if "text" in kinds:
        return {"TF-IDF + LogisticRegression": lambda: make_pipeline(TfidfVectorizer(), logistic())}
    if "image" in kinds:
        return {**classifiers(), "SVC": lambda: make_pipeline(StandardScaler(), SVC())}
    return regressors() if schema.task == "regression" else classifiers()


def logistic() -> LogisticRegression:
    """Return scikit-learn's logistic regression; its 100 iterations are too few for it to settle."""
    return LogisticRegression(max_iter=1000)


def classifiers() -> Peers:
    return {
        "LogisticRegression": lambda: make_pipeline(scaled(), logistic()),
        "MLPClassifier": lambda: make_pipeline(scaled(), MLPClassifier(random_state=0)),
        "HistGradientBoosting": lambda: make_pipeline(coded(), HistGradientBoostingClassifier(random_state=0)),
        "LightGBM": lambda: make_pipeline(categories(), LGBMClassifier(**quiet())),
    }


def regressors() -> Peers:
    return {
        "Ridge": lambda: make_pipeline(scaled(), Ridge()),
        "MLPRegressor": lambda: make_pipeline(scaled(), standardised(MLPRegressor(random_state=0))),
        "HistGradientBoosting": lambda: make_pipeline(coded(), HistGradientBoostingRegressor(random_state=0)),
        "LightGBM": lambda: make_pipeline(categories(), LGBMRegressor(**quiet())),
    }


def quiet() -> dict[str, Any]:
    """Return LightGBM's settings that change no tree: as many threads as raymle has, and no lines about it."""
    return {"random_state": 0, "verbose": -1, "n_jobs": torch.get_num_threads()}


def standardised(estimator: Any) -> TransformedTargetRegressor:
    """Let a network learn a target of mean 0 and deviation 1, or it would first have to learn how large it is."""
    return TransformedTargetRegressor(estimator, transformer=StandardScaler())


def scaled() -> BaseEstimator:
    """Standardise numbers, their gaps filled with the median, and give each word a column."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )


def coded() -> BaseEstimator:
    """Leave numbers as they are, and number the words."""
    words = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_column_transformer((words, make_column_selector(dtype_exclude="number")), remainder="passthrough")


class Categories(BaseEstimator):
    """Makes words pandas' categories, as LightGBM takes them: those of the rows that it was fitted on."""

    def fit(self, frame: pd.DataFrame, y: Any = None) -> "Categories":  # noqa: ARG002
        self.words_ = {name: pd.CategoricalDtype(sorted(frame[name].dropna().unique())) for name in words(frame)}
        return self

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.astype(self.words_)


def words(frame: pd.DataFrame) -> list[str]:
    return list(frame.select_dtypes(exclude="number").columns)


def categories() -> BaseEstimator:
    return Categories()


def features(table: pa.Table, schema: Schema) -> Any:
    """Return what a peer is given: the texts, or a frame with a column for each number, word, step and pixel."""
    columns = schema.features
    if columns[0].type == "text":
        return table[columns[0].name].to_pylist()
    clock = schema.series.parts if schema.series else ()
    parts = [made(table[column.name].combine_chunks(), column.name, column.type, clock) for column in columns]
    return pd.concat(parts, axis=1)


def made(values: pa.Array, name: str, kind: str, clock: tuple[str, ...]) -> pd.DataFrame:
    """Return a column as numbers or words; of a moment, those parts that raymle gives to its models too."""
    if kind == "image":
        pixels = np.stack([np.frombuffer(each, np.uint8) for each in values.to_pylist()])
        return numbered(pixels / WHITE, name)
    if kind == "sequence":
        return numbered(np.array(values.to_pylist(), np.float64), name)
    series = values.to_pandas()
    if kind == "timestamp":
        return pd.DataFrame({f"{name} {part}": getattr(series.dt, part) for part in clock})
    if kind in {"category", "boolean"}:
        return pd.DataFrame({name: series.astype("string").astype(object)})
    return pd.DataFrame({name: series.astype(float)})


def numbered(values: np.ndarray, name: str) -> pd.DataFrame:
    return pd.DataFrame(values, columns=[f"{name} {place}" for place in range(values.shape[1])])


def predicted(estimator: Any, given: Any, task: str) -> np.ndarray:
    """Return probabilities ``[n, classes]`` or values ``[n]``; who gives none is sure of what it says."""
    if task == "regression":
        return np.asarray(estimator.predict(given), np.float64)
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(given), np.float64)
    return np.eye(len(estimator.classes_))[estimator.predict(given)]

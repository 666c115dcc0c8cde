"""The models that the part "pipelines" compares: each takes a raw data frame."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from benchmarks.quality import models, tables
from skbinary import TorchMLPClassifier, make_tabular_pipeline

SKBINARY = "skbinary"
NETWORK = "TorchMLPClassifier"
CATBOOST = "CatBoost"
# HistGradientBoostingClassifier accepts at most this many categories in a column.
_MAX_CATEGORIES = 255


@dataclass(frozen=True)
class Contender:
    """A model with default parameters.

    Parameters
    ----------
    package : str
        The package that must be installed, as it is imported.
    make : callable
        Called with the names of the categorical columns, the seed and the number of threads.
    """

    package: str
    make: Callable[[list[str], int, int], Any]

    @property
    def is_installed(self) -> bool:
        """Whether the package can be imported."""
        return find_spec(self.package) is not None

    @property
    def version(self) -> str:
        """Version of the package."""
        return str(importlib.import_module(self.package).__version__)


class CategoricalColumns(TransformerMixin, BaseEstimator):
    """Convert text to pandas' categorical data type, with the categories of the training set.

    Categories that the training set lacks become missing values.

    Parameters
    ----------
    max_categories : int or None, default=None
        Number of categories of a column that are kept, the most frequent ones. The others become
        missing values.
    """

    def __init__(self, max_categories: int | None = None) -> None:
        self.max_categories = max_categories

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn the categories."""
        self.dtypes_ = {}
        for name in categorical_columns(X):
            kept = X[name].value_counts().index[: self.max_categories]
            self.dtypes_[name] = pd.CategoricalDtype(np.sort(kept.to_numpy(dtype=object)))
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Convert the columns."""
        known = {
            name: X[name].astype(object).where(X[name].isin(dtype.categories)).astype(dtype)
            for name, dtype in self.dtypes_.items()
        }
        return X.assign(**known)


def categorical_columns(X: pd.DataFrame) -> list[str]:
    """Return the names of the columns that hold no numbers."""
    return list(X.select_dtypes(exclude="number"))


def missing_as_text(X: pd.DataFrame) -> pd.DataFrame:
    """Replace missing values of categorical columns by a category of their own."""
    text = {name: X[name].astype(object) for name in categorical_columns(X)}
    return X.assign(**{name: each.where(each.notna(), "missing") for name, each in text.items()})


def _skbinary(categories: list[str], seed: int, threads: int) -> Any:
    return make_tabular_pipeline(random_state=seed)


def _network(categories: list[str], seed: int, threads: int) -> Any:
    return make_pipeline(tables.preprocessor(), TorchMLPClassifier(random_state=seed))


def _catboost(categories: list[str], seed: int, threads: int) -> Any:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(
        verbose=0,
        random_seed=seed,
        thread_count=threads,
        allow_writing_files=False,
        cat_features=categories,
    )
    return make_pipeline(FunctionTransformer(missing_as_text), model)


def _lightgbm(categories: list[str], seed: int, threads: int) -> Any:
    from lightgbm import LGBMClassifier

    return make_pipeline(
        CategoricalColumns(), LGBMClassifier(random_state=seed, n_jobs=threads, verbosity=-1)
    )


def _xgboost(categories: list[str], seed: int, threads: int) -> Any:
    from xgboost import XGBClassifier

    return make_pipeline(
        CategoricalColumns(),
        XGBClassifier(random_state=seed, n_jobs=threads, enable_categorical=True),
    )


def _boosting(categories: list[str], seed: int, threads: int) -> Any:
    # It has no parameter for the number of threads: the environment variables set it.
    return make_pipeline(
        CategoricalColumns(_MAX_CATEGORIES),
        HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed),
    )


def _logistic(categories: list[str], seed: int, threads: int) -> Any:
    return make_pipeline(tables.preprocessor(), models.logistic(seed))


def _forest(categories: list[str], seed: int, threads: int) -> Any:
    return make_pipeline(
        tables.preprocessor(), RandomForestClassifier(random_state=seed, n_jobs=threads)
    )


CONTENDERS = {
    SKBINARY: Contender("skbinary", _skbinary),
    NETWORK: Contender("skbinary", _network),
    CATBOOST: Contender("catboost", _catboost),
    "LightGBM": Contender("lightgbm", _lightgbm),
    "XGBoost": Contender("xgboost", _xgboost),
    "HistGradientBoosting": Contender("sklearn", _boosting),
    "LogisticRegression": Contender("sklearn", _logistic),
    "RandomForest": Contender("sklearn", _forest),
}

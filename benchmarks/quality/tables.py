"""The real tables: loaded, split at random and preprocessed, the same for every model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.data import _read_csv

# More test rows would take longer and hardly make the mean log loss more precise.
MAX_TEST_ROWS = 20_000
# On the raw tables, where some contenders take a minute for a fit, half of that is precise enough.
MAX_RAW_TEST_ROWS = 10_000
# Small tables keep at least a quarter of their rows as the test set.
_MAX_TRAINING_FRACTION = 0.75


@dataclass(frozen=True)
class Table:
    """The columns of a table.

    Parameters
    ----------
    target : str
        Column of the labels.
    positive : object
        Value of the positive class.
    dropped : tuple of str
        Columns that are not features.
    codes : tuple of str
        Categorical columns that hold numbers.
    """

    target: str
    positive: Any
    dropped: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()

    def features_and_target(self, frame: Any) -> tuple[Any, NDArray[np.int64]]:
        """Split a table into features and labels.

        Parameters
        ----------
        frame : DataFrame of shape (n_samples, n_columns)

        Returns
        -------
        features : DataFrame of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,)
            1 for the positive value, else 0.
        """
        y = (frame[self.target] == self.positive).to_numpy().astype(np.int64)
        features = frame.drop(columns=[self.target, *self.dropped])
        return features.astype(dict.fromkeys(self.codes, str)), y


SPECIFICATIONS = {
    "adult": Table("class", ">50K", dropped=("fnlwgt",)),
    "covtype": Table("Cover_Type", 2),
    "credit_default": Table(
        "default.payment.next.month",
        1,
        dropped=("ID",),
        codes=("SEX", "EDUCATION", "MARRIAGE"),
    ),
    "mammography": Table("class", 1),
    "spambase": Table("type", "spam"),
    "higgs_lgbm": Table("label", 1, dropped=("weight",)),
    # The duration of the call is known only after it, with the answer.
    "bank_marketing": Table("deposit", "yes", dropped=("duration",)),
    "credit_data": Table("Status", "bad"),
    "german_credit": Table("class", 2),
    "telco_churn": Table("Churn", "Yes", dropped=("customerID",)),
    "diabetes130": Table(
        "readmitted",
        "<30",
        dropped=("encounter_id", "patient_nbr"),
        codes=("admission_type_id", "discharge_disposition_id", "admission_source_id"),
    ),
}


@dataclass(frozen=True)
class Split:
    """Training set and test set.

    Parameters
    ----------
    X_train, X_test : ndarray of shape (n_samples, n_features), float32
    y_train, y_test : ndarray of shape (n_samples,)
        Labels 0 and 1.
    """

    X_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    X_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


@cache
def read(name: str) -> tuple[Any, NDArray[np.int64]]:
    """Load a table, once per process.

    Raises
    ------
    MissingDataError
        If its file does not exist.
    """
    return SPECIFICATIONS[name].features_and_target(_read_csv(f"{name}.csv.gz"))


def max_training_rows(n_rows: int) -> int:
    """Return the number of training rows that a table of this length has at most."""
    return int(_MAX_TRAINING_FRACTION * n_rows)


def draw(
    y: NDArray[np.int64], rows: int, seed: int, max_test_rows: int | None = MAX_TEST_ROWS
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw a training set and a test set, both stratified.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
    rows : int
        Number of training rows, at most three quarters of the table.
    seed : int
    max_test_rows : int or None
        None uses all remaining rows.

    Returns
    -------
    train, test : ndarray of int
        Indices of rows.
    """
    n_train = min(rows, max_training_rows(len(y)))
    n_test = len(y) - n_train
    n_test = n_test if max_test_rows is None else min(n_test, max_test_rows)
    train, test = train_test_split(
        np.arange(len(y)), train_size=n_train, test_size=n_test, stratify=y, random_state=seed
    )
    return train, test


def preprocessor() -> ColumnTransformer:
    """Return a transformer that imputes and scales numbers and one-hot encodes categories."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False, min_frequency=10)
    return ColumnTransformer(
        [
            ("numbers", numbers, make_column_selector(dtype_include="number")),
            ("categories", categories, make_column_selector(dtype_exclude="number")),
        ]
    )


def raw_split(
    name: str, rows: int, seed: int, max_test_rows: int | None = MAX_RAW_TEST_ROWS
) -> tuple[Any, NDArray[np.int64], Any, NDArray[np.int64]]:
    """Split a table without preprocessing: data frames with text and missing values.

    Parameters
    ----------
    name : str
    rows : int
        Number of training rows, at most three quarters of the table.
    seed : int
    max_test_rows : int or None
        None uses all remaining rows.

    Returns
    -------
    X_train : DataFrame of shape (n_train, n_features)
    y_train : ndarray of shape (n_train,)
        Labels 0 and 1.
    X_test : DataFrame of shape (n_test, n_features)
    y_test : ndarray of shape (n_test,)
    """
    features, y = read(name)
    train, test = draw(y, rows, seed, max_test_rows)
    X_train, X_test = (features.iloc[each].reset_index(drop=True) for each in (train, test))
    return X_train, y[train], X_test, y[test]


def split(name: str, rows: int, seed: int, max_test_rows: int | None = MAX_TEST_ROWS) -> Split:
    """Split a table, and preprocess both sets with statistics of the training set."""
    X_train, y_train, X_test, y_test = raw_split(name, rows, seed, max_test_rows)
    transformer = preprocessor().set_output(transform="default")
    X_train = transformer.fit_transform(X_train).astype(np.float32)
    X_test = transformer.transform(X_test).astype(np.float32)
    return Split(X_train, y_train, X_test, y_test)


def splits(names: list[str], seeds: range, rows: int) -> Iterator[tuple[str, int, Split]]:
    """Split every table with every seed.

    Yields
    ------
    name : str
    seed : int
    split : Split
    """
    for name in names:
        for seed in seeds:
            yield name, seed, split(name, rows, seed)

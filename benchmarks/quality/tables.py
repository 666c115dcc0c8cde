"""The real tables: read, drawn from at random, and prepared, the same for every contender."""

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

# More of them would cost time and hardly make a mean log loss more certain.
MOST_TEST_ROWS = 20_000
# A table that is too small for the training rows asked for still has rows to test on.
_MOST_TRAINING_SHARE = 0.75


@dataclass(frozen=True)
class Table:
    """How a file is to be read.

    Parameters
    ----------
    target : str
        Column of the label.
    positive : object
        Its positive value.
    dropped : tuple of str
        Columns that are no features.
    codes : tuple of str
        Columns whose numbers are names.
    """

    target: str
    positive: Any
    dropped: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()

    def features_and_target(self, frame: Any) -> tuple[Any, NDArray[np.int64]]:
        """Take a table apart.

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
}


@dataclass(frozen=True)
class Split:
    """Rows to train on and rows to test on.

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
    """Read a table, once in a process.

    Raises
    ------
    MissingDataError
        If its file is not there.
    """
    return SPECIFICATIONS[name].features_and_target(_read_csv(f"{name}.csv.gz"))


def draw(
    y: NDArray[np.int64], rows: int, seed: int, most_test_rows: int | None = MOST_TEST_ROWS
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw rows to train on and rows to test on, both stratified.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
    rows : int
        Training rows. There are no more than three quarters of all.
    seed : int
    most_test_rows : int or None
        None tests on all the rest.

    Returns
    -------
    train, test : ndarray of int
        Positions.
    """
    n_train = min(rows, int(_MOST_TRAINING_SHARE * len(y)))
    n_test = len(y) - n_train
    n_test = n_test if most_test_rows is None else min(n_test, most_test_rows)
    train, test = train_test_split(
        np.arange(len(y)), train_size=n_train, test_size=n_test, stratify=y, random_state=seed
    )
    return train, test


def preparation() -> ColumnTransformer:
    """Make what turns columns of any kind into numbers of similar scale."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    names = OneHotEncoder(handle_unknown="ignore", sparse_output=False, min_frequency=10)
    return ColumnTransformer(
        [
            ("numbers", numbers, make_column_selector(dtype_include="number")),
            ("names", names, make_column_selector(dtype_exclude="number")),
        ]
    )


def split(name: str, rows: int, seed: int, most_test_rows: int | None = MOST_TEST_ROWS) -> Split:
    """Draw from a table, and prepare what was drawn by what its training rows tell."""
    features, y = read(name)
    train, test = draw(y, rows, seed, most_test_rows)
    prepare = preparation().set_output(transform="default")
    X_train = prepare.fit_transform(features.iloc[train]).astype(np.float32)
    X_test = prepare.transform(features.iloc[test]).astype(np.float32)
    return Split(X_train, y[train], X_test, y[test])


def splits(names: list[str], seeds: range, rows: int) -> Iterator[tuple[str, int, Split]]:
    """Draw from every table with every seed.

    Yields
    ------
    name : str
    seed : int
    split : Split
    """
    for name in names:
        for seed in seeds:
            yield name, seed, split(name, rows, seed)

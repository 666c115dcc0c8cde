"""Generate or load the data of a case, and pass it to the workers as files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

ENVIRONMENT_VARIABLE = "SKBINARY_DATA"
_FALLBACK = Path(__file__).parents[2] / "shared" / "data"

Table = tuple[Any, NDArray[Any]]
_FUNCTIONS: dict[str, Callable[[Source], Table]] = {}


class MissingDataError(Exception):
    """A file that a case needs does not exist."""


@dataclass(frozen=True)
class Source:
    """Origin and size of a dataset.

    Parameters
    ----------
    name : str
        Name of a function below, without its underscore.
    dtype : {"float64", "float32"}
        Precision of X.
    rows, features : int or None
        Size of a synthetic dataset, or the number of rows to sample from a real one. None uses
        all rows.
    """

    name: str
    dtype: str
    rows: int | None = None
    features: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features of a synthetic dataset."""
        if self.rows is None or self.features is None:
            raise ValueError(
                f"rows and features must be set for {self.name}, got {self.rows}, {self.features}."
            )
        return self.rows, self.features

    def first(self, rows: int | None) -> Source:
        """Return the same source with fewer rows."""
        return self if rows is None else replace(self, rows=rows)

    def make(self) -> Table:
        """Generate or load the rows, dense or CSR, and the labels 0 and 1.

        Returns
        -------
        X : array or CSR matrix of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,)
        """
        X, y = _FUNCTIONS[self.name](self)
        if self.rows is not None and self.rows < len(y):
            chosen = np.random.default_rng(0).permutation(len(y))[: self.rows]
            X, y = X[chosen], y[chosen]
        X = X.astype(self.dtype)
        return X if sparse.issparse(X) else np.ascontiguousarray(X), y.astype(np.int64)


def save(table: Table, folder: Path) -> None:
    """Save a dataset for `load`."""
    X, y = table
    np.save(folder / "y.npy", y)
    if sparse.issparse(X):
        sparse.save_npz(folder / "X.npz", X, compressed=False)
    else:
        np.save(folder / "X.npy", X)


def load(folder: Path) -> Table:
    """Load a dataset that `save` has written."""
    y = np.load(folder / "y.npy")
    if (folder / "X.npz").exists():
        return sparse.csr_matrix(sparse.load_npz(folder / "X.npz")), y
    return np.load(folder / "X.npy"), y


def _register(make: Callable[[Source], Table]) -> Callable[[Source], Table]:
    _FUNCTIONS[make.__name__.strip("_")] = make
    return make


@_register
def _table(source: Source) -> Table:
    """Return correlated normal features and a target that is neither linear nor free of noise."""
    random = np.random.default_rng(0)
    rows, features = source.shape
    X = random.standard_normal((rows, features), dtype=np.float32)
    X += 0.5 * X[:, :1]
    direction = random.standard_normal(features, dtype=np.float32) / np.float32(features**0.5)
    logits = X @ direction + X[:, 0] * X[:, 1]
    return X, random.random(rows) < _sigmoid(logits)


@_register
def _circles(source: Source) -> Table:
    from sklearn.datasets import make_circles

    rows, _ = source.shape
    return make_circles(rows, noise=0.1, factor=0.5, random_state=1)


@_register
def _images(source: Source) -> Table:
    """Return uniform noise; a tenth of the pixels is brighter in one class."""
    random = np.random.default_rng(0)
    rows, features = source.shape
    y = random.integers(2, size=rows)
    X = random.random((rows, features), dtype=np.float32)
    bright = random.random(features) < 0.1
    X[:, bright] *= 1 - 0.1 * (1 - y[:, np.newaxis].astype(np.float32))
    return X, y


@_register
def _genes(source: Source) -> Table:
    random = np.random.default_rng(0)
    X = random.standard_normal(source.shape)
    return X, random.random(len(X)) < _sigmoid(X[:, :20].sum(axis=1))


@_register
def _breast_cancer(source: Source) -> Table:
    from sklearn.datasets import load_breast_cancer
    from sklearn.preprocessing import scale

    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


@_register
def _covtype(source: Source) -> Table:
    """Return unscaled features, such as meters next to zeros and ones."""
    frame = _read_csv("covtype.csv.gz")
    y = frame.pop("Cover_Type") == 2
    return frame.to_numpy(dtype=np.float64), y.to_numpy()


@_register
def _adult(source: Source) -> Table:
    """Return scaled numbers and one-hot encoded categories, including missing values."""
    import pandas as pd
    from sklearn.preprocessing import scale

    frame = _read_csv("adult.csv.gz")
    y = frame.pop("class") == ">50K"
    frame = frame.drop(columns="fnlwgt", errors="ignore")
    numbers = frame.select_dtypes("number")
    categories = pd.get_dummies(frame.drop(columns=numbers.columns), dummy_na=True)
    categories = categories.loc[:, categories.any()]
    numbers = numbers.fillna(numbers.median())
    return np.hstack([scale(numbers.to_numpy(dtype=np.float64)), categories]), y.to_numpy()


@_register
def _credit_default(source: Source) -> Table:
    frame = _read_csv("credit_default.csv.gz").drop(columns="ID")
    y = frame.pop("default.payment.next.month")
    return frame.to_numpy(dtype=np.float64), y.to_numpy()


@_register
def _sms_spam(source: Source) -> Table:
    from sklearn.feature_extraction.text import TfidfVectorizer

    frame = _read_csv("sms_spam.csv.gz")
    X = TfidfVectorizer().fit_transform(frame["message"])
    return sparse.csr_matrix(X), (frame["label"] == "spam").to_numpy()


@_register
def _w8a(source: Source) -> Table:
    from sklearn.datasets import load_svmlight_file

    X, y = load_svmlight_file(str(_find("w8a.libsvm.gz")), n_features=300)
    return sparse.csr_matrix(X), y > 0


def _sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    return 1 / (1 + np.exp(-logits))


def _read_csv(name: str) -> Any:
    import pandas as pd

    # In parts, a column without values in one of them would have mixed types.
    return pd.read_csv(_find(name), low_memory=False)


def _find(name: str) -> Path:
    folder = Path(os.environ.get(ENVIRONMENT_VARIABLE, _FALLBACK))
    if (folder / name).exists():
        return folder / name
    raise MissingDataError(
        f"{name} does not exist in {folder}. Set {ENVIRONMENT_VARIABLE} to its folder."
    )

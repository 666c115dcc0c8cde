"""Fit and evaluate classifiers."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks.quality.tables import Split

# Probabilities in float32 and float64 are clipped alike.
_MIN_PROBABILITY = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Fit:
    """Time and convergence of a fit.

    Parameters
    ----------
    seconds : float
        Time of ``fit``.
    converged : bool
        Whether there was no `ConvergenceWarning`.
    """

    seconds: float
    converged: bool


def fit(model: Any, X: Any, y: NDArray[np.int64]) -> Fit:
    """Fit a model without showing its warnings.

    Parameters
    ----------
    model : classifier
    X : ndarray or DataFrame of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)

    Returns
    -------
    Fit
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        model.fit(X, y)
        seconds = time.perf_counter() - start
    converged = not any(issubclass(each.category, ConvergenceWarning) for each in caught)
    return Fit(seconds, converged)


def fit_all(models: Mapping[str, Any], split: Split, seed: int) -> dict[str, Fit]:
    """Fit models one after another, in an order that depends on the seed."""
    names = rotated(models, seed)
    return {name: fit(models[name], split.X_train, split.y_train) for name in names}


def rotated(names: Iterable[str], by: int) -> list[str]:
    """Rotate names, since the first fit may be slower or faster than the others."""
    ordered = list(names)
    first = by % len(ordered)
    return ordered[first:] + ordered[:first]


def warm_up(models: Mapping[str, Any]) -> None:
    """Fit copies once, to trigger lazy imports and start threads."""
    X, y = make_classification(300, random_state=0)
    for model in models.values():
        fit(clone(model), X.astype(np.float32), y)


def evaluate(model: Any, X: Any, y: NDArray[np.int64]) -> dict[str, float]:
    """Evaluate the probabilities of a fitted model.

    Parameters
    ----------
    model : classifier
    X : ndarray or DataFrame of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)

    Returns
    -------
    dict of str to float
        See `score`.
    """
    return score(y, model.predict_proba(X)[:, 1])


def score(y: NDArray[np.int64], probability: NDArray[Any]) -> dict[str, float]:
    """Evaluate probabilities.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels 0 and 1.
    probability : ndarray of shape (n_samples,)
        Probabilities of label 1.

    Returns
    -------
    dict of str to float
        ``"log_loss"`` in nats, ``"auc"``, ``"brier"``, and ``"ece"``, see `calibration_error`.
    """
    probability = np.asarray(probability, dtype=np.float64)
    clipped = np.clip(probability, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    return {
        "log_loss": float(log_loss(y, clipped)),
        "auc": float(roc_auc_score(y, probability)),
        "brier": float(np.mean((probability - y) ** 2)),
        "ece": calibration_error(y, probability),
    }


def calibration_error(
    y: NDArray[np.int64], probability: NDArray[np.float64], n_bins: int = 15
) -> float:
    """Return the expected calibration error.

    It is the mean over the rows of the absolute difference, in the bin of the row, between the
    mean probability and the fraction of label 1.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels 0 and 1.
    probability : ndarray of shape (n_samples,)
    n_bins : int
        The edges are quantiles, so that bins have the same number of rows, except that equal
        probabilities are in the same bin.
    """
    edges = np.quantile(probability, np.linspace(0, 1, n_bins + 1)[1:-1])
    bins = np.searchsorted(edges, probability)
    differences = np.bincount(bins, weights=probability - y, minlength=n_bins)
    return float(np.abs(differences).sum() / len(y))


def log(message: str) -> None:
    """Print progress to the standard error stream."""
    print(message, file=sys.stderr, flush=True)

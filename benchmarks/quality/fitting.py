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


def fit(model: Any, X: NDArray[np.float32], y: NDArray[np.int64]) -> Fit:
    """Fit a model without showing its warnings.

    Parameters
    ----------
    model : classifier
    X : ndarray of shape (n_samples, n_features)
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


def evaluate(model: Any, X: NDArray[np.float32], y: NDArray[np.int64]) -> dict[str, float]:
    """Evaluate the probabilities of a fitted model.

    Parameters
    ----------
    model : classifier
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)

    Returns
    -------
    dict of str to float
        ``"log_loss"`` in nats, and ``"auc"``.
    """
    probability = model.predict_proba(X)[:, 1].astype(np.float64)
    clipped = np.clip(probability, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    return {
        "log_loss": float(log_loss(y, clipped)),
        "auc": float(roc_auc_score(y, probability)),
    }


def log(message: str) -> None:
    """Print progress to the standard error stream."""
    print(message, file=sys.stderr, flush=True)

"""Fits and judges classifiers."""

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

# Nobody is more certain than float32 allows, be it that a model gives float64.
_LEAST_PROBABILITY = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Fit:
    """How a fit went.

    Parameters
    ----------
    seconds : float
        Of ``fit`` alone.
    converged : bool
        Whether it did not warn that it has not.
    """

    seconds: float
    converged: bool


def fit(model: Any, X: NDArray[np.float32], y: NDArray[np.int64]) -> Fit:
    """Fit a model, in silence.

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
    """Fit models one after another, each seed beginning with another one."""
    names = rotated(models, seed)
    return {name: fit(models[name], split.X_train, split.y_train) for name in names}


def rotated(names: Iterable[str], by: int) -> list[str]:
    """Let another name be the first: who is first may find the machine in another state."""
    ordered = list(names)
    first = by % len(ordered)
    return ordered[first:] + ordered[:first]


def warm_up(models: Mapping[str, Any]) -> None:
    """Let copies load what a first fit loads, and start their threads."""
    X, y = make_classification(300, random_state=0)
    for model in models.values():
        fit(clone(model), X.astype(np.float32), y)


def judge(model: Any, X: NDArray[np.float32], y: NDArray[np.int64]) -> dict[str, float]:
    """Judge the probabilities of a fitted model.

    Parameters
    ----------
    model : classifier
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)

    Returns
    -------
    dict of str to float
        The ``"log_loss"`` in nats, and the ``"auc"``.
    """
    probability = model.predict_proba(X)[:, 1].astype(np.float64)
    clipped = np.clip(probability, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return {
        "log_loss": float(log_loss(y, clipped)),
        "auc": float(roc_auc_score(y, probability)),
    }


def say(words: str) -> None:
    """Tell how far it is, beside the report."""
    print(words, file=sys.stderr, flush=True)

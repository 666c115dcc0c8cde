"""The quantity that early stopping monitors: the validation loss, or a scikit-learn scorer."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.metrics._scorer import _BaseScorer
from torch import Tensor

from skbinary.data.checked import CheckedData, Table
from skbinary.data.dataset import Dataset
from skbinary.data.preparation import Split
from skbinary.runtime.warnings import warn
from skbinary.thresholds.decision import label_logits

# With fewer rows of a class, scores such as the ROC AUC change in large steps between epochs.
_MIN_ROWS_PER_CLASS = 5


def check_monitor(monitor: Any) -> Callable[..., float] | None:
    """Return the scorer to monitor, or None for the loss.

    Parameters
    ----------
    monitor : str or callable
        ``"loss"``, the name of a scorer, or a ``callable(estimator, X, y)``.

    Returns
    -------
    callable(estimator, X, y) -> float, or None

    Raises
    ------
    ValueError
        If there is no scorer of that name.
    """
    if isinstance(monitor, str) and monitor == "loss":
        return None
    if callable(monitor):
        return monitor
    names = ["loss", *get_scorer_names()]
    if isinstance(monitor, str) and monitor in names:
        return _cached_scorer(monitor)
    near = difflib.get_close_matches(str(monitor), names, n=1)
    hint = (
        f"Did you mean {near[0]!r}?" if near else "sklearn.metrics.get_scorer_names() lists them."
    )
    raise ValueError(
        "monitor must be 'loss', the name of a scorer or a callable(estimator, X, y), got "
        f"{monitor!r}. {hint}"
    )


@cache
def _cached_scorer(name: str) -> Callable[..., float]:
    # get_scorer makes a copy at every call, which adds up in searches.
    scorer: Callable[..., float] = get_scorer(name)
    return scorer


def make_validation_score(
    scorer: Callable[..., float],
    rows: Table,
    validation: Dataset,
    model: ModelUnderTraining,
) -> Callable[[Tensor], float] | None:
    """Return a function from validation logits to a score, or None if there are too few rows.

    If several processes hold the rows, each computes the score of all of them, and all use that of
    the first process: a scorer may be random, or round in another way on another machine, and all
    must stop at the same time.

    Parameters
    ----------
    scorer : callable(estimator, X, y) -> float
        Greater scores are better.
    rows : Table
        The validation set as the user passed it, of all processes.
    validation : Dataset
        The rows of this process on the device, with the weights that count in the score.
    model : ModelUnderTraining
        The estimator that is passed to the scorer. Its logits are set before each call.

    Returns
    -------
    callable(Tensor of shape (n_samples,)) -> float, or None
    """
    processes = validation.processes
    is_positive = processes.concatenate((validation.target > 0.5).cpu().numpy())
    n_positive = np.count_nonzero(is_positive)
    n_smallest = min(n_positive, len(is_positive) - n_positive)
    if n_smallest < _MIN_ROWS_PER_CLASS:
        warn(
            f"The validation set must have at least {_MIN_ROWS_PER_CLASS} rows of each class for "
            f"monitor, got {n_smallest}. The validation loss is monitored instead. Raise "
            "validation_fraction, or pass X_val and y_val."
        )
        return None
    weight = _validation_weights(validation) if is_scorer(scorer) else None

    def score(logits: Tensor) -> float:
        model.logits = processes.concatenate(logits.cpu().double().numpy())
        arguments = {} if weight is None else {"sample_weight": weight}
        return processes.from_first(float(scorer(model, rows.X, rows.y, **arguments)))

    return score


def is_scorer(monitor: Any) -> bool:
    """Whether this is a scorer of scikit-learn, which takes weights, and only passes X on."""
    return isinstance(monitor, _BaseScorer)


def validation_rows(data: CheckedData, split: Split) -> Table:
    """Return the validation set as the user passed it, or the held-out rows of the training set.

    Of rows that several processes have, there are all labels, and no features.
    """
    table = data.validation
    if split.held_out is not None:
        own = data.ranges.own(split.held_out)
        table = Table(data.train.X[own], data.train.y[own])
    if table is None:
        raise AssertionError("there are validation rows, or rows are held out")
    if data.processes.is_one:
        return table
    y = data.processes.concatenate(table.y)
    return Table(np.empty((len(y), 0)), y)


def _validation_weights(validation: Dataset) -> NDArray[np.floating] | None:
    """Return the weights of the validation rows of all processes, or None if all are one."""
    weight, processes = validation.score_weight, validation.processes
    if processes.sum_number(float(weight is not None)) == 0:
        return None
    weight = torch.ones_like(validation.target) if weight is None else weight
    weights: NDArray[np.floating] = processes.concatenate(weight.cpu().numpy())
    return weights


class ModelUnderTraining(ClassifierMixin, BaseEstimator):
    """The estimator that a scorer receives after each epoch. It predicts the validation set only.

    Parameters
    ----------
    classes : ndarray of shape (2,)
        The labels, sorted.
    threshold : float
        Decision threshold on the probability of the positive class, in [0, 1].
    positive : int, default=1
        Index of the positive class.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The labels, sorted.
    logits : ndarray of shape (n_samples,)
        The logits of the validation set in the current epoch.
    """

    def __init__(self, classes: NDArray[np.generic], threshold: float, positive: int = 1):
        self.classes = classes
        self.threshold = threshold
        self.positive = positive
        self.classes_ = classes
        self.logits: NDArray[np.float64] = np.empty(0)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the logits of the validation set."""
        if X.shape[0] != len(self.logits):
            raise ValueError(
                f"X must be the whole validation set of {len(self.logits)} rows in a scorer for "
                f"monitor, got {X.shape[0]} rows. Pass X unchanged to the estimator."
            )
        return self.logits

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities of both classes."""
        logits = self.decision_function(X)
        return np.column_stack([expit(-logits), expit(logits)])

    def predict(self, X: Any) -> NDArray[np.generic]:
        """Return the predicted labels."""
        logits = self.decision_function(X)
        return label_logits(logits, self.threshold, self.classes, self.positive)

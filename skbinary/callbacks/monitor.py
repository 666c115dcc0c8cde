"""What early stopping watches: the loss, or a scorer of scikit-learn's."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.metrics._scorer import _BaseScorer
from torch import Tensor

from skbinary.data.checked import Table
from skbinary.data.dataset import Dataset
from skbinary.data.preparation import Split
from skbinary.runtime.warnings import warn
from skbinary.thresholds.decision import label

# With fewer rows of a class a score jumps from epoch to epoch.
_FEWEST_OF_A_CLASS = 5


def check_monitor(monitor: Any) -> Callable[..., float] | None:
    """Give the scorer that is meant, or None for the loss.

    Parameters
    ----------
    monitor : str or callable
        ``"loss"``, the name of a scorer, or a ``callable(estimator, X, y)``.

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
        return _scorer_named(monitor)
    near = difflib.get_close_matches(str(monitor), names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "sklearn.metrics.get_scorer_names() has them."
    raise ValueError(
        "monitor must be 'loss', the name of a scorer or a callable(estimator, X, y), got "
        f"{monitor!r}. {hint}"
    )


@cache
def _scorer_named(name: str) -> Callable[..., float]:
    # scikit-learn makes a copy whenever it is asked, which adds up in searches.
    scorer: Callable[..., float] = get_scorer(name)
    return scorer


def validation_score(
    scorer: Callable[..., float],
    rows: Table,
    validation: Dataset,
    model: ModelUnderTraining,
) -> Callable[[Tensor], float] | None:
    """Give what makes a score of logits, or None where there are too few rows to score.

    Parameters
    ----------
    scorer : callable(estimator, X, y)
        The greater its score, the better.
    rows : Table
        The validation rows as the user gave them.
    validation : Dataset
        The same rows, with the weights that count in the score.
    model : ModelUnderTraining
        Gets the logits, and is passed to the scorer.
    """
    n_positive = int((validation.target > 0.5).sum())
    fewest = min(n_positive, validation.n_samples - n_positive)
    if fewest < _FEWEST_OF_A_CLASS:
        warn(
            f"monitor must have at least {_FEWEST_OF_A_CLASS} validation rows of each class, got "
            f"{fewest}, so the loss is watched. Raise validation_fraction, or pass X_val "
            "and y_val."
        )
        return None
    known = isinstance(scorer, _BaseScorer) and validation.score_weight is not None
    weight = validation.score_weight.cpu().numpy() if known else None  # type: ignore[union-attr]

    def score(logits: Tensor) -> float:
        model.logits = logits.cpu().double().numpy()
        if weight is not None:
            return float(scorer(model, rows.X, rows.y, sample_weight=weight))
        return float(scorer(model, rows.X, rows.y))

    return score


def validation_rows(given: Table | None, train: Table, split: Split) -> Table:
    """Give the validation rows as the user gave them."""
    if given is not None:
        return given
    return Table(train.X[split.held_out], train.y[split.held_out])


class ModelUnderTraining(ClassifierMixin, BaseEstimator):
    """A model as a scorer sees it after an epoch: its answers on the validation rows.

    Parameters
    ----------
    classes : ndarray of shape (2,)
    threshold : float
        Probability from which a row gets the positive label.
    positive : int, default=1
        Index of the positive label.
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
        """Give the logits of the validation rows."""
        if X.shape[0] != len(self.logits):
            raise ValueError(
                f"monitor must ask about all {len(self.logits)} validation rows, got {X.shape[0]} "
                "rows. Give the scorer's X on as it is."
            )
        return self.logits

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Give the probability of both classes."""
        logits = self.decision_function(X)
        return np.column_stack([expit(-logits), expit(logits)])

    def predict(self, X: Any) -> NDArray[np.generic]:
        """Give the labels."""
        return label(self.decision_function(X), self.threshold, self.classes, self.positive)

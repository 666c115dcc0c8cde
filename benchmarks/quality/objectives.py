"""Objectives of thresholds and their values on test data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import make_scorer


@dataclass(frozen=True)
class Counts:
    """Counts of a confusion matrix.

    Parameters
    ----------
    tn, fp, fn, tp : int
        True and false negatives and positives.
    """

    tn: int
    fp: int
    fn: int
    tp: int

    @classmethod
    def of(cls, y: ArrayLike, positive: ArrayLike) -> Counts:
        """Count the four kinds of rows.

        Parameters
        ----------
        y, positive : array-like of shape (n_samples,)
            Labels 0 and 1, and whether class 1 is predicted.
        """
        kinds = 2 * np.asarray(y, dtype=np.intp) + np.asarray(positive, dtype=np.intp)
        tn, fp, fn, tp = np.bincount(kinds, minlength=4).tolist()
        return cls(tn, fp, fn, tp)

    @property
    def total(self) -> int:
        """Number of rows."""
        return self.tn + self.fp + self.fn + self.tp


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _recall(c: Counts) -> float:
    return _ratio(c.tp, c.tp + c.fn)


def _specificity(c: Counts) -> float:
    return _ratio(c.tn, c.tn + c.fp)


def _matthews(c: Counts) -> float:
    margins = (c.tp + c.fp) * (c.tp + c.fn) * (c.tn + c.fp) * (c.tn + c.fn)
    return _ratio(c.tp * c.tn - c.fp * c.fn, sqrt(margins))


# As in scikit-learn, 0 / 0 is 0.
QUANTITIES: dict[str, Callable[[Counts], float]] = {
    "accuracy": lambda c: _ratio(c.tp + c.tn, c.total),
    "f1": lambda c: _ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn),
    "balanced_accuracy": lambda c: (_recall(c) + _specificity(c)) / 2,
    "matthews_corrcoef": _matthews,
    "precision": lambda c: _ratio(c.tp, c.tp + c.fp),
    "recall": _recall,
    "specificity": _specificity,
    "alert_rate": lambda c: _ratio(c.tp + c.fp, c.total),
}
_NEGATIVE_COST = "negative mean cost"


def negative_mean_cost(y_true: ArrayLike, y_pred: ArrayLike, *, fp: float, fn: float) -> float:
    """Return the negative mean cost of the errors; higher is better.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        Labels 0 and 1.
    fp, fn : float
        Costs of a false positive and a false negative.
    """
    counts = Counts.of(y_true, y_pred)
    return -(fp * counts.fp + fn * counts.fn) / counts.total


@dataclass(frozen=True)
class Objective:
    """The objective of a threshold.

    Parameters
    ----------
    threshold : float, str or dict
        Parameter of the classifiers.
    """

    threshold: Any

    @property
    def _costs(self) -> dict[str, float] | None:
        if isinstance(self.threshold, dict) and "cost_fp" in self.threshold:
            return {"fp": self.threshold["cost_fp"], "fn": self.threshold["cost_fn"]}
        return None

    @property
    def is_tuned(self) -> bool:
        """Whether the threshold is tuned."""
        return not isinstance(self.threshold, float)

    @property
    def constrained(self) -> str | None:
        """The metric that is constrained, or None."""
        if isinstance(self.threshold, dict) and self._costs is None:
            return next(iter(self.threshold))
        return None

    @property
    def is_upper_bound(self) -> bool:
        """Whether the constraint is an upper bound."""
        return self.constrained == "alert_rate"

    @property
    def name(self) -> str:
        """Name in the table."""
        if self._costs is not None:
            return f"costs {self._costs['fp']:g} : {self._costs['fn']:g}"
        if self.constrained is not None:
            sign = "<=" if self.is_upper_bound else ">="
            return f"{self.constrained} {sign} {self.threshold[self.constrained]:g}"
        return str(self.threshold)

    @property
    def metric(self) -> str:
        """The metric to maximize; with a constraint precision or recall, for 0.5 the accuracy."""
        if self._costs is not None:
            return _NEGATIVE_COST
        if self.constrained is not None:
            return "precision" if self.constrained == "recall" else "recall"
        return self.threshold if isinstance(self.threshold, str) else "accuracy"

    def value(self, counts: Counts) -> float:
        """Return the value of `metric`."""
        if self._costs is not None:
            fp, fn = self._costs["fp"], self._costs["fn"]
            return -(fp * counts.fp + fn * counts.fn) / counts.total
        return QUANTITIES[self.metric](counts)

    def reached(self, counts: Counts) -> float | None:
        """Return the value of the constrained metric."""
        return None if self.constrained is None else QUANTITIES[self.constrained](counts)

    def is_met(self, counts: Counts) -> bool | None:
        """Return whether the constraint is met."""
        reached = self.reached(counts)
        if reached is None:
            return None
        level = self.threshold[self.constrained]
        return reached <= level if self.is_upper_bound else reached >= level

    def scoring(self) -> Any:
        """Return `scoring` for `TunedThresholdClassifierCV`, or None for a fixed threshold."""
        if self._costs is not None:
            return make_scorer(negative_mean_cost, **self._costs)
        return self.threshold if isinstance(self.threshold, str) else None


ALL = tuple(
    Objective(threshold)
    for threshold in (
        0.5,
        "f1",
        "balanced_accuracy",
        "matthews_corrcoef",
        {"recall": 0.9},
        {"precision": 0.6},
        {"specificity": 0.95},
        {"alert_rate": 0.05},
        {"cost_fp": 1, "cost_fn": 20},
    )
)

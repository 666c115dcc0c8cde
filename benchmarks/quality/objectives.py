"""What a threshold is asked to achieve, and what it has achieved on test rows."""

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
    """How many rows of each kind there are.

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
    def of(cls, y: ArrayLike, flagged: ArrayLike) -> Counts:
        """Count.

        Parameters
        ----------
        y, flagged : array-like of shape (n_samples,)
            Labels 0 and 1, and whether a row is taken for a 1.
        """
        kinds = 2 * np.asarray(y, dtype=np.intp) + np.asarray(flagged, dtype=np.intp)
        tn, fp, fn, tp = np.bincount(kinds, minlength=4).tolist()
        return cls(tn, fp, fn, tp)

    @property
    def total(self) -> int:
        """All rows."""
        return self.tn + self.fp + self.fn + self.tp


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _recall(c: Counts) -> float:
    return _share(c.tp, c.tp + c.fn)


def _specificity(c: Counts) -> float:
    return _share(c.tn, c.tn + c.fp)


def _matthews(c: Counts) -> float:
    margins = (c.tp + c.fp) * (c.tp + c.fn) * (c.tn + c.fp) * (c.tn + c.fn)
    return _share(c.tp * c.tn - c.fp * c.fn, sqrt(margins))


# As in scikit-learn, 0 / 0 is 0.
QUANTITIES: dict[str, Callable[[Counts], float]] = {
    "accuracy": lambda c: _share(c.tp + c.tn, c.total),
    "f1": lambda c: _share(2 * c.tp, 2 * c.tp + c.fp + c.fn),
    "balanced_accuracy": lambda c: (_recall(c) + _specificity(c)) / 2,
    "matthews_corrcoef": _matthews,
    "precision": lambda c: _share(c.tp, c.tp + c.fp),
    "recall": _recall,
    "specificity": _specificity,
    "alert_rate": lambda c: _share(c.tp + c.fp, c.total),
}
_MINUS_COST = "minus mean cost"


def minus_mean_cost(y_true: ArrayLike, y_pred: ArrayLike, *, fp: float, fn: float) -> float:
    """Score labels by what the mistakes among them cost; more is better.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_samples,)
        Labels 0 and 1.
    fp, fn : float
        What a false positive and a false negative cost.
    """
    counts = Counts.of(y_true, y_pred)
    return -(fp * counts.fp + fn * counts.fn) / counts.total


@dataclass(frozen=True)
class Objective:
    """What is asked of a threshold.

    Parameters
    ----------
    threshold : float, str or dict
        As the classifiers take it.
    """

    threshold: Any

    @property
    def _costs(self) -> dict[str, float] | None:
        if isinstance(self.threshold, dict) and "cost_fp" in self.threshold:
            return {"fp": self.threshold["cost_fp"], "fn": self.threshold["cost_fn"]}
        return None

    @property
    def is_chosen(self) -> bool:
        """Whether there is a threshold to choose."""
        return not isinstance(self.threshold, float)

    @property
    def bound(self) -> str | None:
        """What is constrained, if anything is."""
        if isinstance(self.threshold, dict) and self._costs is None:
            return next(iter(self.threshold))
        return None

    @property
    def is_ceiling(self) -> bool:
        """Whether the level of the constraint is the most that is allowed, not the least."""
        return self.bound == "alert_rate"

    @property
    def name(self) -> str:
        """Say it in a table."""
        if self._costs is not None:
            return f"costs {self._costs['fp']:g} : {self._costs['fn']:g}"
        if self.bound is not None:
            return (
                f"{self.bound} {'<=' if self.is_ceiling else '>='} {self.threshold[self.bound]:g}"
            )
        return str(self.threshold)

    @property
    def judged_by(self) -> str:
        """What shall be high: under a constraint the precision or the recall, for 0.5 accuracy."""
        if self._costs is not None:
            return _MINUS_COST
        if self.bound is not None:
            return "precision" if self.bound == "recall" else "recall"
        return self.threshold if isinstance(self.threshold, str) else "accuracy"

    def value(self, counts: Counts) -> float:
        """Give what shall be high."""
        if self._costs is not None:
            fp, fn = self._costs["fp"], self._costs["fn"]
            return -(fp * counts.fp + fn * counts.fn) / counts.total
        return QUANTITIES[self.judged_by](counts)

    def reached(self, counts: Counts) -> float | None:
        """Give what is constrained."""
        return None if self.bound is None else QUANTITIES[self.bound](counts)

    def is_met(self, counts: Counts) -> bool | None:
        """Tell whether the constraint is met."""
        reached = self.reached(counts)
        if reached is None:
            return None
        level = self.threshold[self.bound]
        return reached <= level if self.is_ceiling else reached >= level

    def scoring(self) -> Any:
        """Give what scikit-learn's search for a threshold takes as `scoring`, None for a number."""
        if self._costs is not None:
            return make_scorer(minus_mean_cost, **self._costs)
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

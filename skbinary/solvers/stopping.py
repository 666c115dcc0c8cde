"""Criteria for stopping the training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

# The curve of the training history that must keep improving.
MonitoredCurve = Literal["objective", "validation_loss", "validation_score"]


@dataclass(frozen=True)
class StoppingCriteria:
    """When to stop, and how validation rows are scored.

    Parameters
    ----------
    max_iter : int
        Maximum number of epochs or iterations.
    tol : float
        An improvement of the monitored curve must be at least this large to count. Full-batch
        solvers stop when no component of the gradient exceeds it.
    n_iter_no_change : float
        Patience: number of epochs without improvement before the training stops.
    monitored : {"objective", "validation_loss", "validation_score"} or None, default=None
        The curve that must keep improving. With a validation curve, the weights of the best epoch
        are kept. None for full-batch solvers, which test for convergence themselves.
    threshold : float, default=0.5
        Probability from which a row gets the positive label in the validation score.
    positive : int, default=1
        The target that stands for the positive label: 1 or 0.
    score : callable or None, default=None
        Takes the logits of the validation rows, a tensor of shape (n_validation_samples,), and
        returns their score; greater is better. None for the accuracy.
    """

    max_iter: int
    tol: float
    n_iter_no_change: float
    monitored: MonitoredCurve | None = None
    threshold: float = 0.5
    positive: int = 1
    score: Callable[[Tensor], float] | None = None

    @property
    def stops_early(self) -> bool:
        """Whether a validation curve is monitored."""
        return self.monitored in ("validation_loss", "validation_score")

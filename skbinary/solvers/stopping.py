"""When a training stops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

# What a training watches: a curve of its history.
Watched = Literal["objective", "validation_loss", "validation_score"]


@dataclass(frozen=True)
class StoppingCriteria:
    """When to stop.

    Parameters
    ----------
    max_iter : int
        Most epochs or iterations.
    tol : float
        The least improvement that counts as one.
    n_iter_no_change : float
        Patience: epochs without improvement before the training stops.
    watches : str or None
        The curve in whose improvement the training goes on. If it is one of the validation rows,
        the best epoch's weights are kept. None for full-batch solvers, which know when they have
        converged.
    threshold : float
        Probability from which a row gets the positive label in the validation score.
    positive : int
        The target that is the positive label: 1, or 0.
    score : callable or None
        Takes the logits of the validation rows, a tensor of shape (n_validation_samples,), and
        gives their score, the greater the better. None for the share of rows labelled right.
    """

    max_iter: int
    tol: float
    n_iter_no_change: float
    watches: Watched | None = None
    threshold: float = 0.5
    positive: int = 1
    score: Callable[[Tensor], float] | None = None

    @property
    def stops_early(self) -> bool:
        """Whether the validation rows decide."""
        return self.watches in ("validation_loss", "validation_score")

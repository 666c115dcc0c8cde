"""An iteration of Newton's method for a linear model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skbinary._training.line_search import search
from skbinary._training.objective import LinearObjective
from skbinary._training.result import Progress, StopReason

# What is added to the diagonal, which is scaled to one, when the Hessian is singular.
_FIRST_RIDGE, _RIDGE_GROWTH = 1e-12, 100.0


class Newton:
    """Second-order steps: a Cholesky factorization of the Hessian, then a line search.

    The Hessian is scaled to a unit diagonal first, so columns of very different scale do no harm.
    Where it is singular (equal columns, separable classes without a penalty), the smallest
    diagonal that makes it positive definite is added, which still gives a descent direction.

    Parameters
    ----------
    objective : LinearObjective
        What is lowered.
    tol : float
        The largest absolute component of the gradient to stop at.
    """

    def __init__(self, objective: LinearObjective, tol: float):
        self.objective = objective
        self.stack = objective.stack
        self.problem = objective.problem
        self.tol = tol

    def start(self) -> None:
        """Evaluate the objective at the parameters as they are now."""
        self.objective.restart()

    def epoch(self) -> Progress:
        """Make one iteration."""
        objective = self.objective
        direction, decrement = self._direction()
        step = search(objective.ray(direction))
        if step is not None:
            objective.move(step, direction)
        gap = float(objective.gradient.abs().max())
        done = None
        # Half the squared decrement estimates how far the value is above the optimum (Boyd and
        # Vandenberghe, "Convex optimization", 2004, section 9.5.1).
        if gap <= self.tol and decrement / 2 <= self.tol:
            done = StopReason.CONVERGED
        elif step is None:
            done = StopReason.NO_DESCENT
        return Progress(objective.loss, objective.value, step or 0.0, gap, done)

    def plateau(self) -> bool:
        """Tell that training shall end when nothing improves."""
        return True

    def state(self) -> dict[str, Any]:
        """Give what is remembered: nothing."""
        return {}

    def _direction(self) -> tuple[Tensor, float]:
        gradient = self.objective.gradient
        hessian = self.objective.hessian()
        scale = hessian.diagonal().clamp(min=torch.finfo(hessian.dtype).tiny).rsqrt()
        scaled = hessian * scale * scale[:, None]
        factor, failed = torch.linalg.cholesky_ex(scaled)
        ridge = _FIRST_RIDGE
        while bool(failed) or not bool(torch.isfinite(factor).all()):
            scaled.diagonal().add_(ridge)
            factor, failed = torch.linalg.cholesky_ex(scaled)
            ridge *= _RIDGE_GROWTH
        solved = torch.cholesky_solve((gradient * scale)[:, None], factor)[:, 0]
        direction = -solved * scale
        return direction, float(-(gradient @ direction))

"""An iteration of Newton's method for a linear model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skbinary._training.line_search import search
from skbinary._training.objective import LinearObjective
from skbinary._training.result import Progress, StopReason

# A pivot this small, of a matrix whose diagonal is one, is what rounding leaves of a zero.
_SINGULAR = 1e-7


class Newton:
    """Second-order steps: a Cholesky factorization of the Hessian, then a line search.

    The Hessian is scaled to a unit diagonal first, so columns of very different scale do no harm.
    Where it is singular (equal columns, separable classes without a penalty), its pseudo-inverse
    takes the place of the factorization, so that the weights stay small.

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
        direction = -_solve(scaled, gradient * scale) * scale
        return direction, float(-(gradient @ direction))


def _solve(matrix: Tensor, vector: Tensor) -> Tensor:
    """Solve a positive semidefinite system whose diagonal is one."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not bool(failed) and float(factor.diagonal().min()) > _SINGULAR:
        return torch.cholesky_solve(vector[:, None], factor)[:, 0]
    values, vectors = torch.linalg.eigh(matrix)
    # Directions in which the objective is flat to rounding are left alone.
    seen = values > _SINGULAR**2 * float(values[-1])
    return (vectors[:, seen] / values[seen]) @ (vectors[:, seen].mT @ vector)

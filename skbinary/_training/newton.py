"""An iteration of Newton's method for a linear model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skbinary._stack import Stack
from skbinary._training.lbfgs import Memory
from skbinary._training.line_search import search
from skbinary._training.objective import LinearObjective
from skbinary._training.result import Progress, StopReason

# A pivot this small, of a matrix whose diagonal is one, is what rounding leaves of a zero.
_SINGULAR = 1e-7
# A step with an old Hessian is good enough while it leaves this share of the gradient at most.
# Where a new one costs next to nothing, none is.
_GOOD_ENOUGH, _CHEAP = 0.5, 2e6
# A new Hessian ends far inside tol, an old one just inside: it is held to this share of tol.
_OLD_SHARE = 0.1
# A part of the rows gives most of the answer for a part of the price.
_SUBSAMPLE, _LEAST_ROWS, _ROWS_PER_FEATURE, _ROUGH = 16, 2000, 10, 1e-3


class Newton:
    """Second-order steps: a factorization of the Hessian, then a line search.

    The Hessian is made anew only where the last one no longer does; in between, L-BFGS keeps it up
    to date. Large tables start from the solution on a part of their rows.

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
        self._solver: PrimalSolver | DualSolver | None = None
        self._memory = Memory()
        n_rows, n_features = self.problem.rows.shape
        self._good_enough = 0.0 if n_rows * n_features**2 < _CHEAP else _GOOD_ENOUGH

    def start(self) -> None:
        """Evaluate the objective at the parameters as they are now, or near the solution."""
        if not bool(self.stack.parameters.any()):
            self._start_from_a_part()
        self.objective.restart()
        self._solver = None

    def epoch(self) -> Progress:
        """Make one iteration."""
        objective = self.objective
        gap_before = float(objective.gradient.abs().max())
        fresh = self._solver is None
        if self._solver is None:
            self._solver = make_solver(objective)
            self._memory.clear()
        before = objective.gradient
        direction = -self._memory.times_inverse(before, self._solver.solve)
        decrement = -float(objective.gradient @ direction)
        step = search(objective.ray(direction))
        if step is not None:
            objective.move(step, direction)
            if self._good_enough:
                self._memory.remember(step * direction, objective.gradient - before)
        gap = float(objective.gradient.abs().max())
        if step is None or gap > self._good_enough * gap_before:
            self._solver = None
        done = None
        # Half the squared decrement estimates how far the value is above the optimum (Boyd and
        # Vandenberghe, "Convex optimization", 2004, section 9.5.1).
        goal = self.tol if fresh else _OLD_SHARE * self.tol
        if gap <= goal and decrement / 2 <= self.tol:
            done = StopReason.CONVERGED
        elif step is None and fresh:
            done = StopReason.NO_DESCENT
        return Progress(objective.loss, objective.value, step or 0.0, gap, done)

    def plateau(self) -> bool:
        """Tell that training shall end when nothing improves."""
        return True

    def state(self) -> dict[str, Any]:
        """Give what is remembered: nothing."""
        return {}

    def _start_from_a_part(self) -> None:
        n_rows, n_features = self.problem.rows.shape
        n_part = max(n_rows // _SUBSAMPLE, _LEAST_ROWS, _ROWS_PER_FEATURE * n_features)
        if n_part > n_rows // 4:
            return
        every = torch.arange(0, n_rows, n_rows // n_part, device=self.problem.device)
        part = self.problem.take(every)
        if bool((part.target == part.target[0]).all()):
            return
        stack = Stack(self.stack.architecture, torch.zeros_like(self.stack.parameters))
        rough = Newton(LinearObjective(stack, part, self.objective.l2, self.objective.team), _ROUGH)
        rough.objective.restart()
        for _ in range(10):
            if rough.epoch().done is not None:
                break
        if bool(torch.isfinite(stack.parameters).all()):
            self.stack.parameters.copy_(stack.parameters)


def make_solver(objective: LinearObjective) -> PrimalSolver | DualSolver:
    """Factor the Hessian, in the space of the features or of the rows, whichever is smaller."""
    n_rows, n_features = objective.problem.rows.shape
    if n_rows < n_features and objective.l2 > 0:
        return DualSolver(objective)
    return PrimalSolver(objective.hessian())


class PrimalSolver:
    """Solves systems with a positive semidefinite matrix.

    The matrix is scaled to a unit diagonal first, so columns of very different scale do no harm.
    Where it is singular (equal columns, separable classes without a penalty), its pseudo-inverse
    takes the place of the factorization, so that the solution stays small.

    Parameters
    ----------
    matrix : Tensor of shape (n, n)
    """

    def __init__(self, matrix: Tensor):
        self._scale = matrix.diagonal().clamp(min=torch.finfo(matrix.dtype).tiny).rsqrt()
        scaled = matrix * self._scale * self._scale[:, None]
        self._factor, failed = torch.linalg.cholesky_ex(scaled)
        self._inverse: Tensor | None = None
        if bool(failed) or float(self._factor.diagonal().min()) < _SINGULAR:
            values, vectors = torch.linalg.eigh(scaled)
            # Directions in which the objective is flat to rounding are left alone.
            seen = values > _SINGULAR**2 * float(values[-1])
            self._inverse = (vectors[:, seen] / values[seen]) @ vectors[:, seen].mT

    def solve(self, vector: Tensor) -> Tensor:
        """Give the solution for a right-hand side of shape (n,)."""
        scaled = vector * self._scale
        if self._inverse is not None:
            return self._inverse @ scaled * self._scale
        return torch.cholesky_solve(scaled[:, None], self._factor)[:, 0] * self._scale


class DualSolver:
    """Solves systems with the Hessian of a table that has more features than rows.

    The identity of Woodbury turns a matrix of features into one of rows, in the stable form of
    Rasmussen and Williams, "Gaussian processes for machine learning", 2006, equation 3.27.

    Parameters
    ----------
    objective : LinearObjective
        Where its Hessian is wanted. Its penalty must be above zero.
    """

    def __init__(self, objective: LinearObjective):
        self.objective = objective
        importance = objective.importance()
        self._root = importance.sqrt()
        inner = objective.row_products() * self._root * self._root[:, None] / objective.l2
        inner.diagonal().add_(1.0)
        self._factor = torch.linalg.cholesky(inner)
        n = objective.problem.n_features
        self._has_constant = len(objective.parameters) > n
        if self._has_constant:
            self._column = objective.transposed_product(importance)
            self._solved_column = self._solve_columns(self._column)
            self._pivot = importance.sum() - self._column @ self._solved_column

    def solve(self, vector: Tensor) -> Tensor:
        """Give the solution for a right-hand side of shape (n_parameters,)."""
        if not self._has_constant:
            return self._solve_columns(vector)
        solved = self._solve_columns(vector[:-1])
        # The constant is eliminated last (the Schur complement of the columns).
        constant = (vector[-1] - self._column @ solved) / self._pivot
        return torch.cat([solved - constant * self._solved_column, constant[None]])

    def _solve_columns(self, vector: Tensor) -> Tensor:
        objective = self.objective
        seen = self._root * objective.product(vector) / objective.l2
        seen = torch.cholesky_solve(seen[:, None], self._factor)[:, 0]
        return (vector - objective.transposed_product(self._root * seen)) / objective.l2

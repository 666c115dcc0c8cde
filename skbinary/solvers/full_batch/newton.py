"""An iteration of Newton's method for a linear model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skbinary.models.batch_of_models import ModelBatch
from skbinary.solvers.full_batch.lbfgs import Memory
from skbinary.solvers.full_batch.line_search import find_step
from skbinary.solvers.full_batch.objective import LinearObjective, LineFunction
from skbinary.solvers.full_batch.rounding import RoundingFloor
from skbinary.solvers.result import Progress, StopReason, check_curvature

# A pivot this small, of a matrix whose diagonal is one, is what rounding leaves of a zero.
SINGULAR = 1e-7
# A step with an old Hessian is good enough while it leaves this share of the gradient at most.
# Where a new one costs next to nothing, none is.
_GOOD_ENOUGH, _CHEAP = 0.8, 2e6
# A new Hessian ends far inside tol, an old one just inside: it is held to this share of tol.
_OLD_SHARE = 0.1
# A part of the rows gives most of the answer for a part of the price.
_SUBSAMPLE, _LEAST_ROWS, _ROWS_PER_FEATURE, _ROUGH = 16, 2000, 10, 1e-3
# Steps of 1, 1/2 and 1/4 are tried with the Hessian of a part before it is given up.
_BORROWED_TRIALS = 3


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
        self.model_batch = objective.model_batch
        self.dataset = objective.dataset
        self.tol = tol
        self._solver: HessianSolver | None = None
        self._is_borrowed = False
        self._memory = Memory()
        self._floor = RoundingFloor(objective)
        n_rows, n_features = self.dataset.rows.shape
        self._good_enough = 0.0 if n_rows * n_features**2 < _CHEAP else _GOOD_ENOUGH

    def start(self) -> None:
        """Evaluate the objective at the parameters as they are now, or near the solution."""
        self.resume(None)
        if not bool(self.model_batch.parameters.any()):
            self._start_from_a_part()
        self._is_borrowed = self._solver is not None
        self.objective.start()

    def resume(self, solver: HessianSolver | None) -> None:
        """Go on from where the objective stands, with a Hessian that is close to the one there."""
        self._solver, self._is_borrowed = solver, solver is not None
        self._memory.clear()
        self._origin = self.model_batch.parameters.clone()

    def run_epoch(self) -> Progress:
        """Make one iteration."""
        objective = self.objective
        fresh = self._solver is None
        direction, along, step = self._aim()
        if self._is_borrowed and step is None:
            # The part hardly knows some of the columns, so what it has found leads astray.
            self._solver, self._is_borrowed, fresh = None, False, True
            self.model_batch.parameters.copy_(self._origin)
            objective.evaluate()
            direction, along, step = self._aim()
        before = objective.gradient
        if step is not None:
            objective.move(step, direction)
            if self._good_enough:
                self._memory.remember(step * direction, objective.gradient - before)
        gap = float(objective.gradient.abs().max())
        done_with = step is None or not self._good_enough
        if done_with or gap > self._good_enough * float(before.abs().max()):
            self._solver = None
        done = None
        # Half the squared decrement estimates how far the value is above the optimum (Boyd and
        # Vandenberghe, "Convex optimization", 2004, section 9.5.1).
        goal = self.tol if fresh else _OLD_SHARE * self.tol
        if gap <= goal and -along.slope / 2 <= self.tol:
            done = StopReason.CONVERGED
        elif self._floor.is_reached(
            objective.gradient, along.slope, search_failed=step is None and fresh
        ):
            done = StopReason.ROUNDING
        elif step is None and fresh:
            done = StopReason.LINE_SEARCH
        return Progress(objective.loss, objective.value, step or 0.0, gap, done)

    def _aim(self) -> tuple[Tensor, LineFunction, float | None]:
        """Find where to go and how far, with a new Hessian if there is none."""
        if self._solver is None:
            self._solver, self._is_borrowed = HessianSolver(self.objective.hessian()), False
            self._memory.clear()
        direction = -self._memory.times_inverse(self.objective.gradient, self._solver.solve)
        along = self.objective.along(direction)
        step = (
            find_step(along, n_trials=_BORROWED_TRIALS) if self._is_borrowed else find_step(along)
        )
        return direction, along, step

    def on_plateau(self) -> bool:
        """Tell that training shall end when nothing improves."""
        return True

    def state(self) -> dict[str, Any]:
        """Give what is remembered: nothing."""
        return {}

    def _start_from_a_part(self) -> None:
        n_rows, n_features = self.dataset.rows.shape
        n_part = max(n_rows // _SUBSAMPLE, _LEAST_ROWS, _ROWS_PER_FEATURE * n_features)
        if n_part > n_rows // 4:
            return
        every = torch.arange(0, n_rows, n_rows // n_part, device=self.dataset.device)
        part = self.dataset.take(every)
        if bool((part.target == part.target[0]).all()):
            return
        model_batch = ModelBatch(
            self.model_batch.architecture, torch.zeros_like(self.model_batch.parameters)
        )
        objective = LinearObjective(model_batch, part, self.objective.l2, self.objective.pool)
        rough = Newton(objective, _ROUGH)
        objective.evaluate()
        for _ in range(10):
            if rough.run_epoch().stop_reason is not None:
                break
        if bool(torch.isfinite(model_batch.parameters).all()):
            self.model_batch.parameters.copy_(model_batch.parameters)
            # The Hessian of the part is close to that of the whole, and steps will mend it.
            self._solver = HessianSolver(objective.hessian())


class HessianSolver:
    """Solves systems with a positive semidefinite matrix.

    The matrix is scaled to a unit diagonal first, so columns of very different scale do no harm.
    Where it is singular (equal columns, separable classes without a penalty), its pseudo-inverse
    takes the place of the factorization, so that the solution stays small.

    Parameters
    ----------
    matrix : Tensor of shape (n, n)

    Raises
    ------
    DivergedError
        If the matrix holds a number that is not finite.
    """

    def __init__(self, matrix: Tensor):
        check_curvature(matrix)
        self._scale = matrix.diagonal().clamp(min=torch.finfo(matrix.dtype).tiny).rsqrt()
        scaled = matrix * self._scale * self._scale[:, None]
        self._factor, failed = torch.linalg.cholesky_ex(scaled)
        self._inverse: Tensor | None = None
        if bool(failed) or float(self._factor.diagonal().min()) < SINGULAR:
            values, vectors = torch.linalg.eigh(scaled)
            # Directions in which the objective is flat to rounding are left alone.
            seen = values > SINGULAR**2 * float(values[-1])
            self._inverse = (vectors[:, seen] / values[seen]) @ vectors[:, seen].mT

    def solve(self, right: Tensor) -> Tensor:
        """Give the solution for right-hand sides of shape (n,) or (n, n_sides)."""
        columns = (right if right.ndim == 2 else right[:, None]) * self._scale[:, None]
        if self._inverse is not None:
            solved = self._inverse @ columns
        else:
            solved = torch.cholesky_solve(columns, self._factor)
        return (solved * self._scale[:, None]).view_as(right)

"""Newton's method for a linear model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skbinary.models.batch_of_models import ModelBatch
from skbinary.solvers.full_batch.lbfgs import LBFGSMemory
from skbinary.solvers.full_batch.line_search import find_step
from skbinary.solvers.full_batch.objective import LinearObjective, LineFunction
from skbinary.solvers.full_batch.rounding import RoundingTest
from skbinary.solvers.result import Progress, StopReason, check_curvature

# A pivot this small, of a matrix with a unit diagonal, is a zero up to rounding.
SINGULAR = 1e-7
# A Hessian is used again while its step leaves at most this fraction of the gradient, unless
# computing a new one takes fewer than so many products.
_REUSE_FRACTION, _CHEAP_PRODUCTS = 0.8, 2e6
# A step with a new Hessian ends far within tol, one with an old Hessian just within it. The latter
# must reach this fraction of tol to converge.
_OLD_TOL_FRACTION = 0.1
# The subsample that large tables start on: one row of so many, at least so many rows in all and
# for each feature. It is solved up to the last number.
_SUBSAMPLING, _MIN_ROWS, _ROWS_PER_FEATURE, _SUBSAMPLE_TOL = 16, 2000, 10, 1e-3
# Step lengths 1, 1/2 and 1/4 are tried with the Hessian of a subsample before it is discarded.
_SUBSAMPLE_TRIALS = 3


class Newton:
    """Newton's method with a Cholesky factorization of the Hessian and a line search.

    The Hessian is computed again only when the last one no longer gives good steps; in between,
    L-BFGS updates it. Large tables start at the solution of a subsample of their rows.

    Parameters
    ----------
    objective : LinearObjective
        What is minimized.
    tol : float
        Training stops when no component of the gradient exceeds this.
    """

    def __init__(self, objective: LinearObjective, tol: float):
        self.objective = objective
        self.model_batch = objective.model_batch
        self.dataset = objective.dataset
        self.tol = tol
        self._solver: HessianSolver | None = None
        self._is_from_subsample = False
        self._memory = LBFGSMemory()
        self._rounding = RoundingTest(objective)
        n_rows, n_features = self.dataset.total_samples, self.dataset.n_features
        is_cheap = n_rows * n_features**2 < _CHEAP_PRODUCTS
        self._reuse_fraction = 0.0 if is_cheap else _REUSE_FRACTION

    def start(self) -> None:
        """Evaluate the objective at the current parameters, or near the optimum if they are 0."""
        self.resume(None)
        if not bool(self.model_batch.parameters.any()):
            self._start_from_subsample()
        self._is_from_subsample = self._solver is not None
        self.objective.start()

    def resume(self, solver: HessianSolver | None) -> None:
        """Go on from the current point with an approximation of the Hessian there."""
        self._solver, self._is_from_subsample = solver, solver is not None
        self._memory.clear()
        self._origin = self.model_batch.parameters.clone()

    def run_epoch(self) -> Progress:
        """Run one iteration."""
        objective = self.objective
        is_new = self._solver is None
        direction, line, step = self._search()
        if self._is_from_subsample and step is None:
            # The subsample has too little information on some columns: start without it.
            self._solver, self._is_from_subsample, is_new = None, False, True
            self.model_batch.parameters.copy_(self._origin)
            objective.evaluate()
            direction, line, step = self._search()
        last_gradient = objective.gradient
        if step is not None:
            objective.move(step, direction)
            if self._reuse_fraction:
                self._memory.append(step * direction, objective.gradient - last_gradient)
        gradient_norm = float(objective.gradient.abs().max())
        limit = self._reuse_fraction * float(last_gradient.abs().max())
        if step is None or not self._reuse_fraction or gradient_norm > limit:
            self._solver = None
        reason = self._stop_reason(gradient_norm, line.slope, step, is_new=is_new)
        return Progress(objective.loss, objective.value, step or 0.0, gradient_norm, reason)

    def _stop_reason(
        self, gradient_norm: float, slope: float, step: float | None, *, is_new: bool
    ) -> StopReason | None:
        # Half the squared Newton decrement estimates how far the value is above the optimum (Boyd
        # and Vandenberghe, "Convex optimization", 2004, section 9.5.1).
        tol = self.tol if is_new else _OLD_TOL_FRACTION * self.tol
        if gradient_norm <= tol and -slope / 2 <= self.tol:
            return StopReason.CONVERGED
        search_failed = step is None and is_new
        if self._rounding.is_reached(self.objective.gradient, slope, search_failed=search_failed):
            return StopReason.ROUNDING
        return StopReason.LINE_SEARCH if search_failed else None

    def _search(self) -> tuple[Tensor, LineFunction, float | None]:
        """Compute the Newton direction, with a new Hessian if there is none, and find a step."""
        if self._solver is None:
            self._solver, self._is_from_subsample = HessianSolver(self.objective.hessian()), False
            self._memory.clear()
        direction = -self._memory.apply_inverse(self.objective.gradient, self._solver.solve)
        line = self.objective.along(direction)
        if self._is_from_subsample:
            return direction, line, find_step(line, max_trials=_SUBSAMPLE_TRIALS)
        return direction, line, find_step(line)

    def on_plateau(self) -> bool:
        """Return True: training stops when nothing improves."""
        return True

    def state(self) -> dict[str, Any]:
        """Return an empty state: nothing is kept between fits."""
        return {}

    def _start_from_subsample(self) -> None:
        """Move to the solution of a subsample of a large table, and keep the Hessian there."""
        n_rows, n_features = self.dataset.total_samples, self.dataset.n_features
        n_sampled = max(n_rows // _SUBSAMPLING, _MIN_ROWS, _ROWS_PER_FEATURE * n_features)
        if n_sampled > n_rows // 4:
            return
        subsample = self.dataset.subsample(n_sampled)
        n_positive = subsample.processes.sum_number(float(subsample.target.double().sum()))
        if not 0 < n_positive < subsample.total_samples:
            return
        model_batch = ModelBatch(
            self.model_batch.architecture, torch.zeros_like(self.model_batch.parameters)
        )
        objective = LinearObjective(model_batch, subsample, self.objective.l2, self.objective.pool)
        newton = Newton(objective, _SUBSAMPLE_TOL)
        objective.evaluate()
        for _ in range(10):
            if newton.run_epoch().stop_reason is not None:
                break
        if bool(torch.isfinite(model_batch.parameters).all()):
            self.model_batch.parameters.copy_(model_batch.parameters)
            # This Hessian is close to that of all rows, and L-BFGS corrects the difference.
            self._solver = HessianSolver(objective.hessian())


class HessianSolver:
    """Solves linear systems with a positive semidefinite matrix.

    The matrix is first scaled to a unit diagonal, so that columns of very different scale do no
    harm. If it is singular (duplicate columns, separable classes without a penalty), the
    pseudo-inverse replaces the Cholesky factorization, so that the solution stays small.

    Parameters
    ----------
    matrix : Tensor of shape (n, n)

    Raises
    ------
    DivergedError
        If the matrix contains a number that is not finite.
    """

    def __init__(self, matrix: Tensor):
        check_curvature(matrix)
        self._scale = matrix.diagonal().clamp(min=torch.finfo(matrix.dtype).tiny).rsqrt()
        scaled = matrix * self._scale * self._scale[:, None]
        self._factor, info = torch.linalg.cholesky_ex(scaled)
        self._inverse: Tensor | None = None
        if bool(info) or float(self._factor.diagonal().min()) < SINGULAR:
            eigenvalues, eigenvectors = torch.linalg.eigh(scaled)
            # Directions in which the objective is flat up to rounding are left out.
            kept = eigenvalues > SINGULAR**2 * float(eigenvalues[-1])
            self._inverse = (eigenvectors[:, kept] / eigenvalues[kept]) @ eigenvectors[:, kept].mT

    def solve(self, right_hand_side: Tensor) -> Tensor:
        """Return the solutions for right-hand sides of shape (n,) or (n, n_sides)."""
        sides = right_hand_side if right_hand_side.ndim == 2 else right_hand_side[:, None]
        sides = sides * self._scale[:, None]
        if self._inverse is not None:
            solutions = self._inverse @ sides
        else:
            solutions = torch.cholesky_solve(sides, self._factor)
        return (solutions * self._scale[:, None]).view_as(right_hand_side)

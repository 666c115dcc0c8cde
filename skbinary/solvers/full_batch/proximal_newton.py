"""Proximal Newton method for a linear model with an L1 penalty."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skbinary.solvers.full_batch.line_search import SUFFICIENT_DECREASE
from skbinary.solvers.full_batch.newton import HessianSolver
from skbinary.solvers.full_batch.objective import LinearObjective
from skbinary.solvers.full_batch.rounding import ROUNDING, RoundingTest
from skbinary.solvers.result import Progress, StopReason, check_curvature

_MAX_HALVINGS = 40
# Coefficients that may join the working set in an iteration: at least so many, or twice the number
# of those that are not zero.
_MIN_JOINING = 200
_MAX_SWEEPS, _SWEEPS_PER_SOLVE, _MAX_SIGN_CHANGES = 200, 2, 50
# Fraction of the largest diagonal element that is added to make a singular matrix regular.
_REGULARIZATION = 1e-10
# The quadratic model is minimized up to this fraction of the violation that is left.
_INNER_TOL_FRACTION = 1e-2


class ProximalNewton:
    """Proximal Newton method for a linear model with an L1 penalty, which gives exact zeros.

    Each iteration minimizes a quadratic model of the smooth part plus the penalty (Lee, Sun and
    Saunders, "Proximal Newton-type methods for minimizing composite functions", 2014, algorithm 1),
    over a working set of coefficients: those that are not zero or violate optimality there.

    Parameters
    ----------
    objective : LinearObjective
        The smooth part: the loss and the L2 penalty.
    l1 : float
        Strength of the L1 penalty, above 0. The intercept is not penalized.
    tol : float
        Training stops when no optimality condition is violated by more than this.
    """

    def __init__(self, objective: LinearObjective, l1: float, tol: float):
        self.objective = objective
        self.model_batch = objective.model_batch
        self.dataset = objective.dataset
        self.l1 = l1
        self.tol = tol

    def start(self) -> None:
        """Evaluate the objective at the current parameters."""
        self.objective.start()
        self._rounding = RoundingTest(self.objective)

    def run_epoch(self) -> Progress:
        """Run one iteration."""
        objective = self.objective
        working_set = self._working_set()
        origin = objective.parameters.clone()
        target = origin.clone()
        hessian = objective.hessian(working_set)
        check_curvature(hessian)
        target[working_set] = minimize_model(
            hessian,
            objective.gradient[working_set],
            origin[working_set],
            self._l1_per_parameter()[working_set],
            max(self.tol / 10, _INNER_TOL_FRACTION * float(self._violations().max())),
        )
        step, expected = self._find_step(target - origin)
        if step is not None:
            objective.move(step, target - origin)
            if step == 1.0:
                # Set the parameters exactly, so that zeros stay exact.
                objective.parameters.copy_(target)
        violations = self._violations()
        largest = float(violations.max())
        reason = None
        if largest <= self.tol:
            reason = StopReason.CONVERGED
        elif self._rounding.is_reached(violations, expected, search_failed=step is None):
            reason = StopReason.ROUNDING
        elif step is None:
            reason = StopReason.LINE_SEARCH
        penalty = float(self._l1_per_parameter() @ objective.parameters.abs())
        return Progress(objective.loss, objective.value + penalty, step or 0.0, largest, reason)

    def on_plateau(self) -> bool:
        """Return True: training stops when nothing improves."""
        return True

    def state(self) -> dict[str, Any]:
        """Return an empty state: nothing is kept between fits."""
        return {}

    def _l1_per_parameter(self) -> Tensor:
        strengths = torch.full_like(self.objective.parameters, self.l1)
        strengths[self.dataset.n_features :] = 0.0
        return strengths

    def _violations(self) -> Tensor:
        """Return the distance of zero from the subdifferential in each coordinate."""
        return _violations(
            self.objective.parameters, self.objective.gradient, self._l1_per_parameter()
        )

    def _working_set(self) -> Tensor:
        """Return the positions of the parameters to optimize over, ascending."""
        parameters, violations = self.objective.parameters, self._violations()
        in_set = parameters != 0
        in_set[self.dataset.n_features :] = True
        n_joining = max(_MIN_JOINING, 2 * int(in_set.sum()))
        outside = torch.where(in_set, torch.zeros_like(violations), violations)
        largest = torch.topk(outside, min(n_joining, len(outside))).indices
        in_set[largest[outside[largest] > 0]] = True
        return torch.nonzero(in_set)[:, 0]

    def _find_step(self, direction: Tensor) -> tuple[float | None, float]:
        """Halve the step until the objective decreases enough: equation 2.20 of the paper.

        Returns
        -------
        step : float or None
            None if no step lowers the objective in floating point.
        expected : float
            The change of the objective to first order.
        """
        objective, l1 = self.objective, self._l1_per_parameter()
        start = objective.parameters

        def penalty_change(step: float) -> float:
            # Term by term: for small steps the difference of two sums would be rounding error.
            return float(l1 @ ((start + step * direction).abs() - start.abs()))

        line = objective.along(direction)
        value = objective.value + float(l1 @ start.abs())
        expected = line.slope + penalty_change(1.0)
        rounding = ROUNDING * abs(value)
        if expected > rounding or not bool(direction.any()):
            return None, expected
        step = 1.0
        for _ in range(_MAX_HALVINGS):
            change = line.evaluate(step)[0] - objective.value + penalty_change(step)
            if change <= SUFFICIENT_DECREASE * step * expected + rounding:
                return step, expected
            step /= 2
        return None, expected


def _violations(parameters: Tensor, gradient: Tensor, l1: Tensor) -> Tensor:
    at_zero = (gradient.abs() - l1).clamp(min=0)
    return torch.where(parameters == 0, at_zero, gradient + l1 * parameters.sign()).abs()


def minimize_model(
    hessian: Tensor, gradient: Tensor, start: Tensor, l1: Tensor, tol: float
) -> Tensor:
    """Minimize a quadratic model plus an L1 penalty.

    Finds the u that minimizes ``gradient @ (u - start) + (u - start) @ hessian @ (u - start) / 2
    + l1 @ abs(u)``: by coordinate descent (Friedman, Hastie and Tibshirani, "Regularization paths
    for generalized linear models via coordinate descent", 2010), and by solving for all nonzero
    coordinates at once where that keeps their signs.

    Parameters
    ----------
    hessian : Tensor of shape (n, n)
        Positive semidefinite.
    gradient, start, l1 : Tensor of shape (n,)
        The gradient at the start, the start, and the strength of the penalty in each coordinate.
    tol : float
        The largest violation of the optimality conditions to stop at.

    Returns
    -------
    Tensor of shape (n,)
    """
    solution = start.clone()
    slope = gradient.clone()
    if not len(solution):  # all coefficients stay zero, and there is no intercept
        return solution
    for sweep in range(1, _MAX_SWEEPS + 1):
        _sweep_coordinates(hessian, l1, solution, slope)
        if sweep % _SWEEPS_PER_SOLVE == 0:
            _solve_nonzero(hessian, gradient, start, l1, solution, slope)
        if float(_violations(solution, slope, l1).max()) <= tol:
            break
    return solution


def _sweep_coordinates(hessian: Tensor, l1: Tensor, solution: Tensor, slope: Tensor) -> None:
    """Minimize over one coordinate after the other; `solution` and `slope` change in place."""
    curvatures, strengths = hessian.diagonal().tolist(), l1.tolist()
    values = solution.tolist()
    # Coordinates that are optimal at zero are skipped: their slope changes only when others move.
    is_optimal_zero = ((solution == 0) & (slope.abs() <= l1)).tolist()
    for i, (curvature, strength) in enumerate(zip(curvatures, strengths, strict=True)):
        if is_optimal_zero[i] or curvature <= 0:
            continue
        # Soft thresholding of the minimum of the model without its penalty.
        unpenalized = curvature * values[i] - float(slope[i])
        shrunk = max(abs(unpenalized) - strength, 0.0) / curvature
        change = (shrunk if unpenalized > 0 else -shrunk) - values[i]
        if change != 0:
            values[i] += change
            slope.add_(hessian[i], alpha=change)
    solution.copy_(torch.tensor(values, dtype=solution.dtype))


def _solve_nonzero(
    hessian: Tensor, gradient: Tensor, start: Tensor, l1: Tensor, solution: Tensor, slope: Tensor
) -> None:
    """Solve for the nonzero coordinates; `solution` and `slope` change in place.

    If one of them would change its sign, it stops at zero and the others are solved for again
    (the feature-sign search of Lee, Battle, Raina and Ng, "Efficient sparse coding algorithms",
    2007, with the first zero crossing).
    """
    for _ in range(_MAX_SIGN_CHANGES):
        support = torch.nonzero((solution != 0) | (l1 == 0))[:, 0]
        signs, values = solution[support].sign(), solution[support]
        right_hand_side = slope[support] + l1[support] * signs
        change = -_solve_regularized(hessian[support][:, support], right_hand_side)
        changes_sign = ((values + change).sign() != signs) & (l1[support] > 0)
        crossing = torch.where(changes_sign, -values / change, torch.ones_like(values))
        step = float(crossing.min())
        solution[support] = values + step * change
        solution[support[changes_sign & (crossing == step)]] = 0.0
        slope.copy_(gradient + hessian @ (solution - start))
        if not bool(changes_sign.any()):
            break


def _solve_regularized(matrix: Tensor, vector: Tensor) -> Tensor:
    """Solve a positive semidefinite system with a tiny multiple of the identity added.

    For linearly dependent columns only the penalty decides between the coefficients: along the flat
    direction it decreases until a coefficient is zero. The regularized solution goes far in that
    direction. Its error is corrected by the next solution, which starts from this one.
    """
    largest = float(matrix.diagonal().max())
    identity = torch.eye(len(matrix)).to(matrix)
    factor, info = torch.linalg.cholesky_ex(matrix + _REGULARIZATION * largest * identity)
    if bool(info):
        return HessianSolver(matrix).solve(vector)
    return torch.cholesky_solve(vector[:, None], factor)[:, 0]

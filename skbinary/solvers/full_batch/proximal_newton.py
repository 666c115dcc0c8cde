"""An iteration of the proximal Newton method, for penalties with corners."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skbinary.solvers.full_batch.line_search import SUFFICIENT
from skbinary.solvers.full_batch.newton import HessianSolver
from skbinary.solvers.full_batch.objective import LinearObjective
from skbinary.solvers.full_batch.rounding import ROUNDING, RoundingFloor
from skbinary.solvers.result import Progress, StopReason, check_curvature

_MOST_HALVINGS = 40
# Coefficients that join the working set in one iteration, besides twice as many as are not zero.
_LEAST_WORKING = 200
_MOST_SWEEPS, _SWEEPS_PER_SOLVE, _MOST_CROSSINGS = 200, 2, 50
# The share of the largest diagonal element that makes a singular matrix regular.
_TRACE = 1e-10
# The model is minimized as well as it deserves: to this share of the violation that is left.
_INNER_SHARE = 1e-2


class ProximalNewton:
    """Newton steps for a linear model with an L1 penalty: many coefficients are exactly zero.

    Each iteration minimizes a quadratic model of the smooth part plus the penalty (Lee, Sun and
    Saunders, "Proximal Newton-type methods for minimizing composite functions", 2014, algorithm
    1), over the coefficients that are not zero or want to leave it.

    Parameters
    ----------
    objective : LinearObjective
        The smooth part: the loss and the L2 penalty.
    l1 : float
        Strength of the L1 penalty, above 0. The intercept is not penalized.
    tol : float
        The largest violation of the optimality conditions to stop at.
    """

    def __init__(self, objective: LinearObjective, l1: float, tol: float):
        self.objective = objective
        self.model_batch = objective.model_batch
        self.dataset = objective.dataset
        self.l1 = l1
        self.tol = tol

    def start(self) -> None:
        """Evaluate the objective at the parameters as they are now."""
        self.objective.start()
        self._floor = RoundingFloor(self.objective)

    def run_epoch(self) -> Progress:
        """Make one iteration."""
        objective = self.objective
        working = self._working_set()
        before = objective.parameters.clone()
        target = before.clone()
        hessian = objective.hessian(working)
        check_curvature(hessian)
        target[working] = minimize_model(
            hessian,
            objective.gradient[working],
            before[working],
            self._penalties()[working],
            max(self.tol / 10, _INNER_SHARE * float(self._violations().max())),
        )
        step, promised = self._search(target - before)
        if step is not None:
            objective.move(step, target - before)
            if step == 1.0:
                # Exactly there, so that a zero is a zero.
                objective.parameters.copy_(target)
        violations = self._violations()
        gap = float(violations.max())
        done = None
        if gap <= self.tol:
            done = StopReason.CONVERGED
        elif self._floor.is_reached(violations, promised, search_failed=step is None):
            done = StopReason.ROUNDING
        elif step is None:
            done = StopReason.LINE_SEARCH
        penalty = float(self._penalties() @ objective.parameters.abs())
        return Progress(objective.loss, objective.value + penalty, step or 0.0, gap, done)

    def on_plateau(self) -> bool:
        """Tell that training shall end when nothing improves."""
        return True

    def state(self) -> dict[str, Any]:
        """Give what is remembered: nothing."""
        return {}

    def _penalties(self) -> Tensor:
        penalties = torch.full_like(self.objective.parameters, self.l1)
        penalties[self.dataset.n_features :] = 0.0
        return penalties

    def _violations(self) -> Tensor:
        """Give the distance of zero from the subgradient, coordinate by coordinate."""
        parameters, gradient = self.objective.parameters, self.objective.gradient
        penalties = self._penalties()
        at_zero = (gradient.abs() - penalties).clamp(min=0)
        return torch.where(parameters == 0, at_zero, gradient + penalties * parameters.sign()).abs()

    def _working_set(self) -> Tensor:
        parameters, violations = self.objective.parameters, self._violations()
        chosen = parameters != 0
        chosen[self.dataset.n_features :] = True
        n_joining = max(_LEAST_WORKING, 2 * int(chosen.sum()))
        outside = torch.where(chosen, torch.zeros_like(violations), violations)
        strongest = torch.topk(outside, min(n_joining, len(outside))).indices
        chosen[strongest[outside[strongest] > 0]] = True
        return torch.nonzero(chosen)[:, 0]

    def _search(self, direction: Tensor) -> tuple[float | None, float]:
        """Halve the step until the objective falls enough: equation 2.20 of the paper.

        Returns
        -------
        step : float or None
            None where no step lowers the objective in floating point.
        promised : float
            The change of the objective to first order.
        """
        objective, penalties = self.objective, self._penalties()
        start = objective.parameters

        def added(step: float) -> float:
            # Term by term: for small steps the difference of two sums would be rounding error.
            return float(penalties @ ((start + step * direction).abs() - start.abs()))

        along = objective.along(direction)
        before = objective.value + float(penalties @ start.abs())
        promised = along.slope + added(1.0)
        rounding = ROUNDING * abs(before)
        if promised > rounding or not bool(direction.any()):
            return None, promised
        step = 1.0
        for _ in range(_MOST_HALVINGS):
            change = along.at(step)[0] - objective.value + added(step)
            if change <= SUFFICIENT * step * promised + rounding:
                return step, promised
            step /= 2
        return None, promised


def minimize_model(
    hessian: Tensor, gradient: Tensor, start: Tensor, penalties: Tensor, tol: float
) -> Tensor:
    """Minimize a quadratic model plus an L1 penalty.

    Finds the u that minimizes ``gradient @ (u - start) + (u - start) @ hessian @ (u - start) / 2
    + penalties @ abs(u)``: by coordinate descent (Friedman, Hastie and Tibshirani,
    "Regularization paths for generalized linear models via coordinate descent", 2010), and by
    solving for all coordinates that are not zero at once where that keeps their signs.

    Parameters
    ----------
    hessian : Tensor of shape (n, n)
        Positive semidefinite.
    gradient, start, penalties : Tensor of shape (n,)
    tol : float
        The largest violation of the optimality conditions to stop at.

    Returns
    -------
    Tensor of shape (n,)
    """
    found = start.clone()
    slope = gradient.clone()
    if not len(found):  # all coefficients stay zero, and there is no intercept
        return found
    for sweep in range(1, _MOST_SWEEPS + 1):
        _sweep(hessian, penalties, found, slope)
        if sweep % _SWEEPS_PER_SOLVE == 0:
            _solve_support(hessian, gradient, start, penalties, found, slope)
        stuck = (slope.abs() - penalties).clamp(min=0)
        violation = torch.where(found == 0, stuck, slope + penalties * found.sign())
        if float(violation.abs().max()) <= tol:
            break
    return found


def _sweep(hessian: Tensor, penalties: Tensor, found: Tensor, slope: Tensor) -> None:
    """Minimize over one coordinate after the other, in place."""
    curvatures, strengths = hessian.diagonal().tolist(), penalties.tolist()
    values = found.tolist()
    # Coordinates that rest at zero are passed over: their slope may only move when others do.
    resting = ((found == 0) & (slope.abs() <= penalties)).tolist()
    for i, (curvature, strength) in enumerate(zip(curvatures, strengths, strict=True)):
        if resting[i] or curvature <= 0:
            continue
        aim = curvature * values[i] - float(slope[i])
        shrunk = max(abs(aim) - strength, 0.0) / curvature
        moved = (shrunk if aim > 0 else -shrunk) - values[i]
        if moved != 0:
            values[i] += moved
            slope.add_(hessian[i], alpha=moved)
    found.copy_(torch.tensor(values, dtype=found.dtype))


def _solve_support(
    hessian: Tensor,
    gradient: Tensor,
    start: Tensor,
    penalties: Tensor,
    found: Tensor,
    slope: Tensor,
) -> None:
    """Solve for the coordinates that are not zero, in place.

    Where one of them would change its sign it stops at zero and the others are solved for again
    (the feature-sign search of Lee, Battle, Raina and Ng, "Efficient sparse coding algorithms",
    2007, with the nearest crossing taken).
    """
    for _ in range(_MOST_CROSSINGS):
        support = torch.nonzero((found != 0) | (penalties == 0))[:, 0]
        signs, here = found[support].sign(), found[support]
        right = slope[support] + penalties[support] * signs
        moved = -_solve_nearly(hessian[support][:, support], right)
        crossing = ((here + moved).sign() != signs) & (penalties[support] > 0)
        reach = torch.where(crossing, -here / moved, torch.ones_like(here))
        step = float(reach.min())
        found[support] = here + step * moved
        found[support[crossing & (reach == step)]] = 0.0
        slope.copy_(gradient + hessian @ (found - start))
        if not bool(crossing.any()):
            break


def _solve_nearly(matrix: Tensor, vector: Tensor) -> Tensor:
    """Solve a positive semidefinite system, and go far where it is flat.

    Between columns that depend on each other only the penalty chooses, and along the flat
    direction it falls until a coefficient is zero. A trace of a diagonal makes the solution point
    there; what it bends is mended by the next solution, which starts from this one.
    """
    size = float(matrix.diagonal().max())
    factor, failed = torch.linalg.cholesky_ex(
        matrix + _TRACE * size * torch.eye(len(matrix)).to(matrix)
    )
    if bool(failed):
        return HessianSolver(matrix).solve(vector)
    return torch.cholesky_solve(vector[:, None], factor)[:, 0]

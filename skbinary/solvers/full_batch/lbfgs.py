"""L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from skbinary.solvers.full_batch.line_search import find_step
from skbinary.solvers.full_batch.objective import LinearObjective, NetworkObjective
from skbinary.solvers.full_batch.rounding import RoundingTest
from skbinary.solvers.result import Progress, StopReason, check_curvature

_MEMORY = 10  # pairs that are kept, as in scipy's L-BFGS-B


class LBFGSMemory:
    """The last few differences of the parameters and of the gradient.

    The two-loop recursion of Nocedal, "Updating quasi-Newton matrices with limited storage", 1980
    (algorithm 7.4 in Nocedal and Wright, "Numerical optimization", 2006). Each of its loops solves
    a triangular system by substitution; here each system is solved in one call, as in Byrd, Nocedal
    and Schnabel, "Representations of quasi-Newton matrices", 1994, section 2.
    """

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return self._end - self._begin

    def clear(self) -> None:
        """Remove all pairs."""
        self._begin = self._end = 0

    def append(self, parameter_difference: Tensor, gradient_difference: Tensor) -> None:
        """Add a pair of differences, unless its curvature is not clearly positive."""
        curvature, square = torch.stack(
            [parameter_difference @ gradient_difference, gradient_difference @ gradient_difference]
        ).tolist()
        if not curvature > torch.finfo(gradient_difference.dtype).eps * square:
            return
        self._reserve(gradient_difference)
        last = self._end
        self._parameter_differences[last] = parameter_difference
        self._gradient_differences[last] = gradient_difference
        self._end += 1
        self._begin = max(0, self._end - _MEMORY, self._begin)
        # Row i, column j: parameter difference i times gradient difference j, for i up to j.
        kept = slice(self._begin, self._end)
        self._dots[kept, last] = self._parameter_differences[kept] @ gradient_difference

    def apply_inverse(self, vector: Tensor, initial: Callable[[Tensor], Tensor]) -> Tensor:
        """Multiply a vector by the approximate inverse Hessian.

        Parameters
        ----------
        vector : Tensor of shape (n_parameters,)
        initial : callable(vector) -> vector
            Multiplies by the initial inverse Hessian, to which the pairs are applied.
        """
        if not len(self):
            return initial(vector)
        kept = slice(self._begin, self._end)
        s, y = self._parameter_differences[kept], self._gradient_differences[kept]
        dots = self._dots[kept, kept].triu()
        alpha = _solve_triangular(dots, s @ vector, upper=True)
        product = initial(vector - alpha @ y)
        beta = _solve_triangular(dots.mT, dots.diagonal() * alpha - y @ product, upper=False)
        return product + beta @ s

    def initial_scale(self, inverse_diagonal: Tensor | None) -> float:
        """Return the factor that fits a diagonal initial inverse Hessian to the last pair."""
        if not len(self):
            return 1.0
        last = self._end - 1
        y = self._gradient_differences[last]
        scaled = y if inverse_diagonal is None else inverse_diagonal * y
        return float(self._dots[last, last] / (y @ scaled))

    def _reserve(self, like: Tensor) -> None:
        if self._end == 0:
            # Twice the necessary space, so that the pairs have to be moved only now and then.
            self._parameter_differences, self._gradient_differences = like.new_zeros(
                2, 2 * _MEMORY, len(like)
            )
            self._dots = like.new_zeros(2 * _MEMORY, 2 * _MEMORY)
        elif self._end == 2 * _MEMORY:
            kept = slice(self._end - _MEMORY, self._end)
            for differences in (self._parameter_differences, self._gradient_differences):
                differences[:_MEMORY] = differences[kept].clone()
            self._dots[:_MEMORY, :_MEMORY] = self._dots[kept, kept].clone()
            self._begin, self._end = 0, _MEMORY


def _solve_triangular(matrix: Tensor, vector: Tensor, *, upper: bool) -> Tensor:
    return torch.linalg.solve_triangular(matrix, vector[:, None], upper=upper)[:, 0]


class LBFGS:
    """L-BFGS with a line search.

    The diagonal of the Hessian, where it is known, is the preconditioner, so that columns of very
    different scale converge without a scaler.

    Parameters
    ----------
    objective : LinearObjective or NetworkObjective
        What is minimized.
    tol : float
        Training stops when no component of the gradient exceeds this.
    min_decrease : float, default=0.0
        Training stops when the relative decrease of the objective is at most this.
    max_evaluations : float, default=inf
        Maximum number of evaluations of the objective.
    """

    def __init__(
        self,
        objective: LinearObjective | NetworkObjective,
        tol: float,
        *,
        min_decrease: float = 0.0,
        max_evaluations: float = float("inf"),
    ):
        self.objective = objective
        self.model_batch = objective.model_batch
        self.dataset = objective.dataset
        self.tol = tol
        self.min_decrease = min_decrease
        self.max_evaluations = max_evaluations

    def start(self) -> None:
        """Evaluate the objective at the current parameters, with an empty memory."""
        self.objective.start()
        self._memory = LBFGSMemory()
        self._rounding = RoundingTest(self.objective)
        diagonal = self.objective.hessian_diagonal()
        if diagonal is not None:
            check_curvature(diagonal)
        tiny = torch.finfo(self.objective.parameters.dtype).tiny
        self._inverse_diagonal = None if diagonal is None else diagonal.clamp(min=tiny).reciprocal()

    def run_epoch(self) -> Progress:
        """Run one iteration."""
        objective = self.objective
        value, gradient = objective.value, objective.gradient
        direction = -self._apply_inverse_hessian(gradient)
        line = objective.along(direction)
        step = find_step(line, self._first_step(gradient))
        if step is None and len(self._memory):
            # The approximation may be bad: try once more without it.
            self._memory.clear()
            direction = -self._apply_inverse_hessian(gradient)
            line = objective.along(direction)
            step = find_step(line, self._first_step(gradient))
        if step is not None:
            objective.move(step, direction)
            self._memory.append(direction * step, objective.gradient - gradient)
        gradient_norm = float(objective.gradient.abs().max())
        reason = self._stop_reason(step, gradient_norm, value, line.slope)
        return Progress(objective.loss, objective.value, step or 0.0, gradient_norm, reason)

    def on_plateau(self) -> bool:
        """Return True: training stops when nothing improves."""
        return True

    def state(self) -> dict[str, Any]:
        """Return an empty state: nothing is kept between fits."""
        return {}

    def _stop_reason(
        self, step: float | None, gradient_norm: float, last_value: float, slope: float
    ) -> StopReason | None:
        if gradient_norm <= self.tol:
            return StopReason.CONVERGED
        search_failed = step is None
        if self._rounding.is_reached(self.objective.gradient, slope, search_failed=search_failed):
            return StopReason.ROUNDING
        if search_failed:
            return StopReason.LINE_SEARCH
        decrease = last_value - self.objective.value
        if self.min_decrease and decrease <= self.min_decrease * max(1.0, last_value):
            return StopReason.OBJECTIVE
        if self.objective.n_evaluations >= self.max_evaluations:
            return StopReason.MAX_FUN
        return None

    def _first_step(self, gradient: Tensor) -> float:
        if len(self._memory) or self._inverse_diagonal is not None:
            return 1.0
        return min(1.0, 1.0 / max(float(gradient.abs().sum()), 1e-300))

    def _apply_inverse_hessian(self, vector: Tensor) -> Tensor:
        return self._memory.apply_inverse(vector, self._apply_initial)

    def _apply_initial(self, vector: Tensor) -> Tensor:
        scaled = vector if self._inverse_diagonal is None else self._inverse_diagonal * vector
        return scaled * self._memory.initial_scale(self._inverse_diagonal)

"""An iteration of L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from skbinary.solvers.full_batch.line_search import find_step
from skbinary.solvers.full_batch.objective import LinearObjective, NetworkObjective
from skbinary.solvers.full_batch.rounding import RoundingFloor
from skbinary.solvers.result import Progress, StopReason, check_curvature

_MEMORY = 10  # pairs that are kept, as scipy's L-BFGS-B does


class Memory:
    """The last few changes of the parameters and of the gradient.

    The two-loop recursion of Nocedal, "Updating quasi-Newton matrices with limited storage", 1980
    (algorithm 7.4 in Nocedal and Wright, "Numerical optimization", 2006). Each of its loops solves
    a triangular system by substitution; here the systems are solved at once, as in Byrd, Nocedal
    and Schnabel, "Representations of quasi-Newton matrices", 1994, section 2.
    """

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return self._end - self._begin

    def clear(self) -> None:
        """Forget everything."""
        self._begin = self._end = 0

    def remember(self, change: Tensor, bend: Tensor) -> None:
        """Take note of a change of the parameters, and of how the gradient has changed."""
        dot, square = torch.stack([change @ bend, bend @ bend]).tolist()
        if not dot > torch.finfo(bend.dtype).eps * square:
            return
        self._make_room(bend)
        here = self._end
        self._changes[here] = change
        self._bends[here] = bend
        self._end += 1
        self._begin = max(0, self._end - _MEMORY, self._begin)
        # Row i, column j: the dot product of change i and bend j, for i up to j.
        self._dots[self._begin : self._end, here] = self._changes[self._begin : self._end] @ bend

    def times_inverse(self, vector: Tensor, first_guess: Callable[[Tensor], Tensor]) -> Tensor:
        """Multiply a vector with the inverse Hessian, as far as it is known.

        Parameters
        ----------
        vector : Tensor of shape (n_parameters,)
        first_guess : callable
            Multiplies with what the inverse is taken for before any change is known.
        """
        if not len(self):
            return first_guess(vector)
        known = slice(self._begin, self._end)
        changes, bends = self._changes[known], self._bends[known]
        dots = self._dots[known, known].triu()
        shares = _solve_triangular(dots, changes @ vector, upper=True)
        guess = first_guess(vector - shares @ bends)
        missing = dots.diagonal() * shares - bends @ guess
        return guess + _solve_triangular(dots.mT, missing, upper=False) @ changes

    def size(self, inverse: Tensor | None) -> float:
        """Give the factor that fits a diagonal guess to the last change."""
        if not len(self):
            return 1.0
        last = self._end - 1
        bend = self._bends[last]
        return float(
            self._dots[last, last] / (bend @ (bend if inverse is None else inverse * bend))
        )

    def _make_room(self, like: Tensor) -> None:
        if self._end == 0:
            # Twice the room that is needed, so that what is kept moves but once in a while.
            self._changes, self._bends = like.new_zeros(2, 2 * _MEMORY, len(like))
            self._dots = like.new_zeros(2 * _MEMORY, 2 * _MEMORY)
        elif self._end == 2 * _MEMORY:
            known = slice(self._end - _MEMORY, self._end)
            for each in (self._changes, self._bends):
                each[:_MEMORY] = each[known].clone()
            self._dots[:_MEMORY, :_MEMORY] = self._dots[known, known].clone()
            self._begin, self._end = 0, _MEMORY


def _solve_triangular(matrix: Tensor, vector: Tensor, *, upper: bool) -> Tensor:
    return torch.linalg.solve_triangular(matrix, vector[:, None], upper=upper)[:, 0]


class LBFGS:
    """Quasi-Newton steps from the last few changes of the gradient.

    Where the diagonal of the Hessian is known it preconditions the steps, so that columns of very
    different scale converge without a scaler.

    Parameters
    ----------
    objective : LinearObjective or NetworkObjective
        What is lowered.
    tol : float
        The largest absolute component of the gradient to stop at.
    min_decrease : float
        The relative decrease of the objective to stop at.
    max_evaluations : float
        How often the objective may be evaluated.
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
        """Evaluate the objective at the parameters as they are now, and forget the past."""
        self.objective.start()
        self._memory = Memory()
        self._floor = RoundingFloor(self.objective)
        curvature = self.objective.hessian_diagonal()
        if curvature is not None:
            check_curvature(curvature)
        tiny = torch.finfo(self.objective.parameters.dtype).tiny
        self._inverse = None if curvature is None else curvature.clamp(min=tiny).reciprocal()

    def run_epoch(self) -> Progress:
        """Make one iteration."""
        objective = self.objective
        before, gradient = objective.value, objective.gradient
        direction = -self._times_inverse_hessian(gradient)
        along = objective.along(direction)
        step = find_step(along, self._first_step(gradient))
        if step is None and len(self._memory):
            # The memory may be what misleads: once more, straight down.
            self._memory.clear()
            direction = -self._times_inverse_hessian(gradient)
            along = objective.along(direction)
            step = find_step(along, self._first_step(gradient))
        if step is not None:
            objective.move(step, direction)
            self._memory.remember(direction * step, objective.gradient - gradient)
        gap = float(objective.gradient.abs().max())
        done = self._verdict(step, gap, before, along.slope)
        return Progress(objective.loss, objective.value, step or 0.0, gap, done)

    def on_plateau(self) -> bool:
        """Tell that training shall end when nothing improves."""
        return True

    def state(self) -> dict[str, Any]:
        """Give what is remembered between fits: nothing."""
        return {}

    def _verdict(
        self, step: float | None, gap: float, before: float, slope: float
    ) -> StopReason | None:
        if gap <= self.tol:
            return StopReason.CONVERGED
        if self._floor.is_reached(self.objective.gradient, slope, search_failed=step is None):
            return StopReason.ROUNDING
        if step is None:
            return StopReason.LINE_SEARCH
        decrease = before - self.objective.value
        if self.min_decrease and decrease <= self.min_decrease * max(1.0, before):
            return StopReason.OBJECTIVE
        if self.objective.n_evaluations >= self.max_evaluations:
            return StopReason.MAX_FUN
        return None

    def _first_step(self, gradient: Tensor) -> float:
        if len(self._memory) or self._inverse is not None:
            return 1.0
        return min(1.0, 1.0 / max(float(gradient.abs().sum()), 1e-300))

    def _times_inverse_hessian(self, vector: Tensor) -> Tensor:
        return self._memory.times_inverse(vector, self._first_guess)

    def _first_guess(self, vector: Tensor) -> Tensor:
        scaled = vector if self._inverse is None else self._inverse * vector
        return scaled * self._memory.size(self._inverse)

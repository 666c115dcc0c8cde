"""An iteration of L-BFGS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from skbinary._training.line_search import search
from skbinary._training.objective import LinearObjective, NetworkObjective
from skbinary._training.result import Progress, StopReason

_MEMORY = 10  # pairs that are kept, as scipy's L-BFGS-B does


class Memory:
    """The last few changes of the parameters and of the gradient.

    The two-loop recursion of Nocedal, "Updating quasi-Newton matrices with limited storage", 1980
    (algorithm 7.4 in Nocedal and Wright, "Numerical optimization", 2006).
    """

    def __init__(self) -> None:
        self._pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=_MEMORY)

    def __len__(self) -> int:
        return len(self._pairs)

    def clear(self) -> None:
        """Forget everything."""
        self._pairs.clear()

    def remember(self, change: Tensor, bend: Tensor) -> None:
        """Take note of a change of the parameters, and of how the gradient has changed."""
        dot = float(change @ bend)
        if dot > torch.finfo(bend.dtype).eps * float(bend @ bend):
            self._pairs.append((change, bend, dot))

    def times_inverse(self, vector: Tensor, first_guess: Callable[[Tensor], Tensor]) -> Tensor:
        """Multiply a vector with the inverse Hessian, as far as it is known.

        Parameters
        ----------
        vector : Tensor of shape (n_parameters,)
        first_guess : callable
            Multiplies with what the inverse is taken for before any change is known.
        """
        vector = vector.clone()
        shares = []
        for change, bend, dot in reversed(self._pairs):
            share = float(change @ vector) / dot
            shares.append(share)
            vector -= share * bend
        vector = first_guess(vector)
        for (change, bend, dot), share in zip(self._pairs, reversed(shares), strict=True):
            vector += (share - float(bend @ vector) / dot) * change
        return vector

    def size(self, inverse: Tensor | None) -> float:
        """Give the factor that fits a diagonal guess to the last change."""
        if not self._pairs:
            return 1.0
        _, bend, dot = self._pairs[-1]
        return dot / float(bend @ (bend if inverse is None else inverse * bend))


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
        self.stack = objective.stack
        self.problem = objective.problem
        self.tol = tol
        self.min_decrease = min_decrease
        self.max_evaluations = max_evaluations

    def start(self) -> None:
        """Evaluate the objective at the parameters as they are now, and forget the past."""
        self.objective.restart()
        self._memory = Memory()
        curvature = self.objective.curvature()
        tiny = torch.finfo(self.objective.parameters.dtype).tiny
        self._inverse = None if curvature is None else curvature.clamp(min=tiny).reciprocal()

    def epoch(self) -> Progress:
        """Make one iteration."""
        objective = self.objective
        before, gradient = objective.value, objective.gradient
        direction = -self._times_inverse_hessian(gradient)
        step = search(objective.ray(direction), self._first_step(gradient))
        if step is None and len(self._memory):
            # The memory may be what misleads: once more, straight down.
            self._memory.clear()
            direction = -self._times_inverse_hessian(gradient)
            step = search(objective.ray(direction), self._first_step(gradient))
        if step is not None:
            objective.move(step, direction)
            self._memory.remember(direction * step, objective.gradient - gradient)
        gap = float(objective.gradient.abs().max())
        done = self._verdict(step, gap, before)
        return Progress(objective.loss, objective.value, step or 0.0, gap, done)

    def plateau(self) -> bool:
        """Tell that training shall end when nothing improves."""
        return True

    def state(self) -> dict[str, Any]:
        """Give what is remembered between fits: nothing."""
        return {}

    def _verdict(self, step: float | None, gap: float, before: float) -> StopReason | None:
        if gap <= self.tol:
            return StopReason.CONVERGED
        if step is None:
            return StopReason.NO_DESCENT
        decrease = before - self.objective.value
        if self.min_decrease and decrease <= self.min_decrease * max(1.0, before):
            return StopReason.FLAT
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

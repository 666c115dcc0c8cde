"""Detect that a gradient is as small as floating point allows."""

from __future__ import annotations

from torch import Tensor

from skbinary.solvers.full_batch.objective import Objective

# Values this close, relative to their size, cannot be distinguished in float64 sums.
ROUNDING = 1e-14
# The error of a sum may exceed the first-order bound of a single term's error by this factor.
_ERROR_FACTOR = 4.0
# Iterations in which the gradient is not halved before it counts as no longer decreasing.
_PATIENCE = 3


class RoundingTest:
    """Checks whether a gradient has reached its rounding error.

    That is so when no component exceeds the rounding error of the sum that it is, and further
    iterations do not make the gradient smaller.

    Parameters
    ----------
    objective : Objective
        What is minimized. If it has no bound of its rounding errors, the slope along the last
        direction must be zero up to rounding instead.
    """

    def __init__(self, objective: Objective):
        self.objective = objective
        self._smallest = float("inf")
        self._n_no_decrease = 0

    def is_reached(self, gradient: Tensor, slope: float, *, search_failed: bool) -> bool:
        """Check the gradient after an iteration.

        Parameters
        ----------
        gradient : Tensor of shape (n_parameters,)
            The gradient, or another measure of the distance to the optimum in its units.
        slope : float
            The slope of the objective along the last direction, at its start.
        search_failed : bool
            Whether no step along it lowered the objective.
        """
        largest = float(gradient.abs().max())
        if largest < self._smallest / 2:
            self._smallest, self._n_no_decrease = largest, 0
        else:
            self._n_no_decrease += 1
        # The bound takes a pass over the rows, so it is computed only where it may be reached.
        is_flat = abs(slope) <= ROUNDING * abs(self.objective.value)
        if not search_failed and not (is_flat and self._n_no_decrease >= _PATIENCE):
            return False
        bound = self.objective.gradient_rounding_errors()
        if bound is None:
            return is_flat
        return bool((gradient.abs() <= _ERROR_FACTOR * bound).all())

"""How small a gradient can get in floating point."""

from __future__ import annotations

from torch import Tensor

from skbinary.solvers.full_batch.objective import Objective

# Two values this close, relative to their size, cannot be told apart in float64 sums.
ROUNDING = 1e-14
# What a sum of many terms may be off by, in first-order bounds of the error of a single one.
_TERMS = 4.0
# Iterations without a gradient of half the size that end the search for a smaller one.
_PATIENCE = 3


class RoundingFloor:
    """Tells when a gradient is as small as floating point allows.

    That is the case when no component is larger than the rounding errors of the numbers that it is
    the sum of, and iterations do not make them smaller.

    Parameters
    ----------
    objective : Objective
        What is lowered. Where it does not know its rounding errors, its slope decides: the
        objective must be flat to rounding.
    """

    def __init__(self, objective: Objective):
        self.objective = objective
        self._smallest = float("inf")
        self._n_misses = 0

    def is_reached(self, gradient: Tensor, slope: float, *, search_failed: bool) -> bool:
        """Look at the gradient after an iteration.

        Parameters
        ----------
        gradient : Tensor of shape (n_parameters,)
            The gradient, or another measure of the distance to the optimum in its units.
        slope : float
            The slope of the objective along the last direction, where it began.
        search_failed : bool
            Whether no step along it lowered the objective.
        """
        largest = float(gradient.abs().max())
        if largest < self._smallest / 2:
            self._smallest, self._n_misses = largest, 0
        else:
            self._n_misses += 1
        # The bound takes a pass over the rows, so it is asked for only where it may be reached.
        is_flat = abs(slope) <= ROUNDING * abs(self.objective.value)
        if not search_failed and not (is_flat and self._n_misses >= _PATIENCE):
            return False
        bound = self.objective.gradient_rounding_errors()
        if bound is None:
            return is_flat
        return bool((gradient.abs() <= _TERMS * bound).all())

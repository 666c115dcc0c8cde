"""How far to go along a direction."""

from __future__ import annotations

import math

from skbinary.solvers.full_batch.objective import LineFunction
from skbinary.solvers.full_batch.rounding import ROUNDING

SUFFICIENT = 1e-4  # share of the promised decrease that a step must keep
_CURVATURE = 0.9  # share of the slope that may be left
_MOST_TRIALS = 40


def find_step(
    along: LineFunction, first: float = 1.0, n_trials: int = _MOST_TRIALS
) -> float | None:
    """Find a step that lowers the objective enough and leaves a flatter slope.

    Bisection for the weak Wolfe conditions (Lewis and Overton, "Nonsmooth optimization via
    quasi-Newton methods", 2013, algorithm 2.6). Near the optimum, where values differ by
    rounding only, the slope decides instead (Hager and Zhang, "A new conjugate gradient method
    with guaranteed descent and an efficient line search", 2005, equation 4.1).

    Parameters
    ----------
    along : LineFunction
        The objective along the direction.
    first : float
        The step to try first.
    n_trials : int
        How many steps to try at most.

    Returns
    -------
    float or None
        The step, or None if no step lowers the objective in floating point.
    """
    if not along.slope < 0:
        return None
    low, high, step = 0.0, math.inf, first
    for _ in range(n_trials):
        value, slope = along.at(step)
        if not _lowers(along, step, value, slope):
            high = step
        elif slope < _CURVATURE * along.slope:
            low = step
        else:
            return step
        step = (low + high) / 2 if high < math.inf else 2 * low
    return low or None


def _lowers(along: LineFunction, step: float, value: float, slope: float) -> bool:
    if value <= along.value + SUFFICIENT * step * along.slope:
        return True
    level = along.value + ROUNDING * abs(along.value)
    return value <= level and slope <= (2 * SUFFICIENT - 1) * along.slope

"""Line search: choose the step length along a direction."""

from __future__ import annotations

import math

from skbinary.solvers.full_batch.objective import LineFunction
from skbinary.solvers.full_batch.rounding import ROUNDING

# Constants of the weak Wolfe conditions: the fraction of the decrease to first order that a step
# must achieve, and the fraction of the initial slope that may remain.
SUFFICIENT_DECREASE = 1e-4
_CURVATURE = 0.9
_MAX_TRIALS = 40


def find_step(
    line: LineFunction, first_step: float = 1.0, max_trials: int = _MAX_TRIALS
) -> float | None:
    """Find a step length that satisfies the weak Wolfe conditions.

    Bisection (Lewis and Overton, "Nonsmooth optimization via quasi-Newton methods", 2013, algorithm
    2.6). Near the optimum, where values differ by rounding only, the slope decides instead (Hager
    and Zhang, "A new conjugate gradient method with guaranteed descent and an efficient line
    search", 2005, equation 4.1).

    Parameters
    ----------
    line : LineFunction
        The objective along the direction.
    first_step : float, default=1.0
        The step length to try first.
    max_trials : int, default=40
        Maximum number of step lengths to try.

    Returns
    -------
    float or None
        The step length, or None if no step lowers the objective in floating point.
    """
    if not line.slope < 0:
        return None
    low, high, step = 0.0, math.inf, first_step
    for _ in range(max_trials):
        value, slope = line.evaluate(step)
        if not _decreases(line, step, value, slope):
            high = step
        elif slope < _CURVATURE * line.slope:
            low = step
        else:
            return step
        step = (low + high) / 2 if high < math.inf else 2 * low
    return low or None


def _decreases(line: LineFunction, step: float, value: float, slope: float) -> bool:
    if value <= line.value + SUFFICIENT_DECREASE * step * line.slope:
        return True
    bound = line.value + ROUNDING * abs(line.value)
    return value <= bound and slope <= (2 * SUFFICIENT_DECREASE - 1) * line.slope

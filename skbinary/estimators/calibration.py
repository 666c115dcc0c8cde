"""Temperature scaling: one factor for all logits, fitted on rows that were not trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

# Standard deviation of a prior on the factor, whose mean is 1: with few rows, or with rows that are
# all classified correctly, the temperature stays near 1.
_PRIOR_DEVIATION = 0.15
_MIN_FACTOR = 0.1
_MAX_STEPS = 50
_TOL = 1e-10


def fit_temperature(
    logits: NDArray[np.floating],
    target: NDArray[np.floating],
    weight: NDArray[np.floating] | None = None,
) -> float:
    """Fit the temperature by which logits are divided, to lower their log loss.

    Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", 2017. The
    reciprocal of the temperature has a normal prior of mean 1, which counts like a few rows.

    Parameters
    ----------
    logits : ndarray of shape (n_samples,)
        Logits of rows that the model was not trained on. Rows whose logit is NaN are ignored.
    target : ndarray of shape (n_samples,)
        1 for the positive class, else 0.
    weight : ndarray of shape (n_samples,) or None, default=None
        Weights of the rows, which are scaled to a mean of 1. Rows of weight 0 are ignored.

    Returns
    -------
    float
        The temperature, above 0. Above 1 the logits are too far from 0.
    """
    weight = np.ones(len(logits)) if weight is None else weight
    is_used = np.isfinite(logits) & (weight > 0)
    z, y, w = (each[is_used].astype(np.float64) for each in (logits, target, weight))
    if not len(z):
        return 1.0
    w = w / w.max()  # whose sum neither overflows nor is rounded to zero
    w /= w.mean()
    precision = _PRIOR_DEVIATION**-2
    factor = 1.0
    # Newton's method: the objective is strictly convex in the factor.
    for _ in range(_MAX_STEPS):
        p = expit(factor * z)
        slope = (w * (p - y)) @ z + precision * (factor - 1)
        step = slope / ((w * p * (1 - p)) @ z**2 + precision)
        # A step that is too long, where the curvature is small, is shortened.
        factor = max(factor - float(np.clip(step, -0.5, 0.5)), _MIN_FACTOR)
        if abs(step) < _TOL:
            break
    # Modules and files of weights hold it as float32, and shall predict the same.
    return float(np.float32(1 / factor))

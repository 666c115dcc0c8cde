"""From a probability to a label."""

from __future__ import annotations

from numbers import Real

import numpy as np
from numpy.typing import NDArray


def check_threshold(threshold: object) -> float:
    """Give the threshold as a float.

    Raises
    ------
    ValueError
        If it is no number in [0, 1].
    """
    if isinstance(threshold, Real) and 0 <= float(threshold) <= 1:
        return float(threshold)
    raise ValueError(
        f"threshold must be a number in [0, 1]. Got {threshold!r} instead. It is the probability "
        "from which a row counts as positive; 0.5 is the usual one."
    )


def decide(
    probability: NDArray[np.floating], threshold: float, classes: NDArray[np.generic]
) -> NDArray[np.generic]:
    """Label rows.

    Parameters
    ----------
    probability : ndarray of shape (n_samples,)
        Probability of the positive class, ``classes[1]``.
    threshold : float
        A row is positive when its probability is at least this.
    classes : ndarray of shape (2,)
        The labels.

    Returns
    -------
    ndarray of shape (n_samples,)
    """
    # In float64: a threshold that was chosen between two neighbours lies there in no less.
    return classes[(probability.astype(np.float64) >= threshold).astype(np.intp)]

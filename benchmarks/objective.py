"""The objective of logistic regression in float64, by which all contenders are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Number of rows that are converted to float64 at a time.
_CHUNK = 50_000


def objective(
    X: Any,
    y: NDArray[Any],
    coef: NDArray[Any],
    intercept: float,
    *,
    C: float,
    l1_ratio: float,
) -> float:
    """Compute the objective that ``LogisticRegression`` minimizes.

    ``C * sum(loss) + l1_ratio * sum(|coef|) + (1 - l1_ratio) / 2 * sum(coef ** 2)``

    Parameters
    ----------
    X : array or CSR matrix of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        0 or 1.
    coef : ndarray of shape (n_features,)
    intercept : float
    C, l1_ratio : float

    Returns
    -------
    float
    """
    coef = np.asarray(coef, dtype=np.float64)
    losses = 0.0
    for start in range(0, len(y), _CHUNK):
        rows = slice(start, start + _CHUNK)
        logits = X[rows].astype(np.float64) @ coef + intercept
        losses += float(np.sum(np.logaddexp(0, logits) - y[rows] * logits))
    penalty = l1_ratio * np.abs(coef).sum() + (1 - l1_ratio) / 2 * (coef @ coef)
    return C * losses + float(penalty)

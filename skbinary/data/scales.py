"""Detect validation rows that are on a different scale from the training rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from torch import Tensor

# At most so many rows and columns are compared, evenly spaced: enough to estimate a scale.
_MAX_ROWS, _MAX_COLUMNS = 255, 512
# With fewer rows, quartiles of heavy-tailed columns differ a lot in ordinary splits.
_MIN_ROWS = 30
# A column is on another scale if its medians differ by so many interquartile ranges, or if one
# range is so many times the other. Rows of a later year, or of another place, differ by less.
_MAX_SHIFT, _MAX_RATIO = 3, 10


class ScaleDifference(NamedTuple):
    """Columns that are on different scales.

    Parameters
    ----------
    n_columns : int
        Number of columns that are on different scales.
    n_compared : int
        Number of columns that were compared.
    column : int
        Position of the column whose scales differ most.
    statistic : str
        What differs there: ``"median"`` or ``"interquartile range"``.
    value, value_val : float
        The statistic of the training rows, and of the validation rows.
    """

    n_columns: int
    n_compared: int
    column: int
    statistic: str
    value: float
    value_val: float


def scale_difference(X: Any, X_val: Any) -> ScaleDifference | None:
    """Find out whether at least half of the columns have another scale in the validation rows.

    Medians and interquartile ranges of columns with at least three different values are compared.
    Columns with an interquartile range of zero, such as most one-hot columns and columns of sparse
    matrices, are left out.

    Parameters
    ----------
    X, X_val : ndarray, numpy.memmap, CSR matrix or tensor of shape (n_samples, n_features)
        Checked rows, of the same columns.

    Returns
    -------
    ScaleDifference or None
        None if the scales are similar, or cannot be compared.
    """
    if min(X.shape[0], X_val.shape[0]) < _MIN_ROWS:
        return None
    columns = np.arange(0, X.shape[1], -(-X.shape[1] // _MAX_COLUMNS))
    sample, sample_val = (np.sort(_sample(each, columns).T) for each in (X, X_val))
    (low, median, high), (low_val, median_val, high_val) = map(_quartiles, (sample, sample_val))
    width, width_val = high - low, high_val - low_val
    compared = np.flatnonzero(
        (width > 0) & (width_val > 0) & _has_three_values(sample) & _has_three_values(sample_val)
    )
    narrow, wide = np.minimum(width, width_val), np.maximum(width, width_val)
    # Relative to their limits, so that values above 1 exceed them.
    shift = np.abs(median - median_val)[compared] / wide[compared] / _MAX_SHIFT
    ratio = wide[compared] / narrow[compared] / _MAX_RATIO
    excess = np.maximum(shift, ratio)
    n_columns = int(np.count_nonzero(excess > 1))
    if n_columns == 0 or 2 * n_columns < len(compared):
        return None
    largest = int(np.argmax(excess))
    k = compared[largest]
    statistic, value, value_val = "interquartile range", width[k], width_val[k]
    if shift[largest] > 1:
        statistic, value, value_val = "median", median[k], median_val[k]
    return ScaleDifference(
        n_columns, len(compared), int(columns[k]), statistic, float(value), float(value_val)
    )


def _sample(X: Any, columns: NDArray[np.intp]) -> NDArray[np.float64]:
    rows = np.arange(0, X.shape[0], -(-X.shape[0] // _MAX_ROWS))
    if sp.issparse(X):
        sample = X[rows][:, columns].tocoo()
        values = np.zeros(sample.shape)
        values[sample.row, sample.col] = sample.data
        return values
    X = X[rows.tolist()].cpu().numpy() if isinstance(X, Tensor) else np.asarray(X[rows])
    return X[:, columns].astype(np.float64)


def _quartiles(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the quartiles of sorted rows."""
    last = values.shape[1] - 1
    return [values[:, round(quantile * last)] for quantile in (0.25, 0.5, 0.75)]


def _has_three_values(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which sorted rows have at least three different values."""
    return np.count_nonzero(np.diff(values), axis=1) >= 2

"""Whether validation rows are clearly on a different scale from the training rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from torch import Tensor

# At most so many rows and columns are compared, evenly spaced: enough to estimate a scale.
_MOST_ROWS, _MOST_COLUMNS = 255, 512
# With fewer rows, quartiles of heavy-tailed columns differ a lot in ordinary splits.
_FEWEST_ROWS = 30
# A column is on another scale if its medians are so many interquartile ranges apart, or if one of
# the ranges is so many times the other. Rows of a later year, or of another place, differ by less.
_RANGES_APART, _TIMES_WIDER = 3, 10


class ScaleDifference(NamedTuple):
    """Columns that are on different scales.

    Parameters
    ----------
    n_columns : int
        How many of them there are.
    n_compared : int
        How many columns were compared.
    column : int
        Position of the one whose scales differ most.
    statistic : str
        What differs there: its median, or its interquartile range.
    value, value_val : float
        The statistic in the training rows, and in the validation rows.
    """

    n_columns: int
    n_compared: int
    column: int
    statistic: str
    value: float
    value_val: float


def scale_difference(X: Any, X_val: Any) -> ScaleDifference | None:
    """Tell whether at least half of the columns are on another scale in validation rows.

    Medians and interquartile ranges of columns with at least three different values are compared.
    Columns in which one value makes up half of the rows or more, such as most one-hot columns and
    columns of sparse tables, have no such range and are left out.

    Parameters
    ----------
    X, X_val : ndarray, numpy.memmap, CSR matrix or tensor of shape (n_samples, n_features)
        Checked rows, of the same columns.

    Returns
    -------
    ScaleDifference or None
        None if the scales are alike, or cannot be compared.
    """
    if min(X.shape[0], X_val.shape[0]) < _FEWEST_ROWS:
        return None
    columns = np.arange(0, X.shape[1], -(-X.shape[1] // _MOST_COLUMNS))
    first, second = (np.sort(_sample(each, columns).T) for each in (X, X_val))
    (low, median, high), (low_val, median_val, high_val) = map(_quartiles, (first, second))
    width, width_val = high - low, high_val - low_val
    compared = np.flatnonzero(
        (width > 0) & (width_val > 0) & _has_three_values(first) & _has_three_values(second)
    )
    narrow, wide = np.minimum(width, width_val), np.maximum(width, width_val)
    # Both relative to their limits, so that 1 is the limit and the largest is the clearest.
    apart = np.abs(median - median_val)[compared] / wide[compared] / _RANGES_APART
    wider = wide[compared] / narrow[compared] / _TIMES_WIDER
    excess = np.maximum(apart, wider)
    n_columns = int(np.count_nonzero(excess > 1))
    if n_columns == 0 or 2 * n_columns < len(compared):
        return None
    plainest = int(np.argmax(excess))
    k = compared[plainest]
    shown: tuple[str, Any, Any] = ("interquartile range", width[k], width_val[k])
    if apart[plainest] > 1:
        shown = ("median", median[k], median_val[k])
    statistic, value, value_val = shown
    return ScaleDifference(
        n_columns, len(compared), int(columns[k]), statistic, float(value), float(value_val)
    )


def _sample(X: Any, columns: NDArray[np.intp]) -> NDArray[np.float64]:
    rows = np.arange(0, X.shape[0], -(-X.shape[0] // _MOST_ROWS))
    if sp.issparse(X):
        part = X[rows][:, columns].tocoo()
        values = np.zeros(part.shape)
        values[part.row, part.col] = part.data
        return values
    X = X[rows.tolist()].cpu().numpy() if isinstance(X, Tensor) else np.asarray(X[rows])
    return X[:, columns].astype(np.float64)


def _quartiles(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Give the quartiles of sorted rows."""
    last = values.shape[1] - 1
    return [values[:, round(share * last)] for share in (0.25, 0.5, 0.75)]


def _has_three_values(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which sorted rows hold at least three different values."""
    return np.count_nonzero(np.diff(values), axis=1) >= 2

"""Columns of numbers for a network: bounded, and beside each the pieces it is made of."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from skbinary.data.containers import check_container, is_single_precision
from skbinary.runtime.defaults import default_settings

_BOUND = 3.0  # standard deviations
# What the pieces weigh beside the column itself: much more, and smooth columns suffer.
_PIECES_SCALE = 0.5
_LEAST_DEVIATION = 1e-3  # a piece that varies less hardly counts


class PiecewiseLinearEncoder(TransformerMixin, BaseEstimator):
    """Encode columns of numbers so that a network sees sharp cuts and long tails.

    A network bends slowly along a column: where the meaning of a number changes within a small
    part of its range, or where a few numbers are far from all others, it needs many rows to find
    out. Each column becomes the column itself, scaled and softly bounded, and the pieces between
    its quantiles, each a column that rises from nothing to all within its part of the range.

    Parameters
    ----------
    n_bins : int, default=8
        Pieces of a column, at least 2, cut at quantiles. There are fewer where quantiles are
        equal, and none where a column has no more than this many different values.

    Attributes
    ----------
    bin_edges_ : list of ndarray of shape (n_pieces + 1,)
        Where each column is cut. Empty for columns without pieces.
    mean_ : ndarray of shape (n_features,)
        Mean of each column.
    scale_ : ndarray of shape (n_features,)
        Standard deviation of each column, 1 where it is 0.
    n_features_in_ : int
        Number of columns that ``fit`` has seen.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if all of them are strings.

    Notes
    -----
    A piece from a to b is ``clip((x - a) / (b - a), 0, 1)``, which is equation 1 of Gorishniy,
    Rubachev and Babenko, "On embeddings for numerical features in tabular deep learning", 2022. It
    is brought to mean 0 and standard deviation 0.5. A column z of mean 0 and standard deviation 1
    is bounded by ``z / sqrt(1 + (z / 3) ** 2)``, as in Holzmüller, Grinsztajn and Steinwart,
    "Better by default: strong pre-tuned MLPs and boosted trees on tabular data", 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from skbinary import PiecewiseLinearEncoder, TorchMLPClassifier
    >>> X = np.random.default_rng(0).normal(size=(500, 1))
    >>> y = np.abs(X[:, 0]) < 0.5
    >>> model = make_pipeline(PiecewiseLinearEncoder(), TorchMLPClassifier(random_state=0))
    >>> model.fit(X, y).score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_bins": [Interval(Integral, 2, None, closed="left")]
    }

    def __init__(self, n_bins: int = 8):
        self.n_bins = n_bins

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the quantiles, means and standard deviations of the columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, none of them missing.
        y : None
            Not used.

        Returns
        -------
        self : PiecewiseLinearEncoder
            Fitted.

        Examples
        --------
        >>> from skbinary import PiecewiseLinearEncoder
        >>> PiecewiseLinearEncoder(n_bins=2).fit([[0.0], [1.0], [2.0], [5.0]]).bin_edges_
        [array([0. , 1.5, 5. ])]
        """
        with default_settings():
            return self._fit(X)

    def _fit(self, X: Any) -> Self:
        X = self._checked(X, reset=True)
        exact = X.astype(np.float64, copy=False)
        self.mean_, deviation = exact.mean(axis=0), exact.std(axis=0)
        self.scale_ = np.where(deviation > 0, deviation, 1.0)
        self.bin_edges_ = [self._edges(column) for column in exact.T]
        pieces = self._pieces(exact)
        self._piece_mean, deviation = pieces.mean(axis=0), pieces.std(axis=0)
        self._piece_scale = _PIECES_SCALE / (deviation + _LEAST_DEVIATION)
        return self

    def transform(self, X: Any) -> NDArray[np.floating]:
        """Encode columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, none of them missing.

        Returns
        -------
        ndarray of shape (n_samples, n_columns)
            First the bounded columns, then the pieces, column by column, in the precision of X.

        Examples
        --------
        >>> from skbinary import PiecewiseLinearEncoder
        >>> X = [[0.0], [1.0], [2.0], [5.0]]
        >>> PiecewiseLinearEncoder(n_bins=2).fit(X).transform(X).round(2)
        array([[-1.01, -0.81, -0.34],
               [-0.53,  0.  , -0.34],
               [ 0.  ,  0.41, -0.17],
               [ 1.41,  0.41,  0.86]])
        """
        check_is_fitted(self)
        with default_settings():
            return self._transform(X)

    def _transform(self, X: Any) -> NDArray[np.floating]:
        X = self._checked(X, reset=False)
        z = (X - self.mean_) / self.scale_
        bounded = z / np.sqrt(1 + (z / _BOUND) ** 2)
        pieces = (self._pieces(X) - self._piece_mean) * self._piece_scale
        return np.hstack([bounded, pieces]).astype(X.dtype, copy=False)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the columns that come out.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns that go in. None for those that ``fit`` has seen, or x0, x1, ...

        Returns
        -------
        ndarray of str of shape (n_columns,)
            The names that go in, and after them, for each column, name_piece0, name_piece1, ...

        Examples
        --------
        >>> from skbinary import PiecewiseLinearEncoder
        >>> encoder = PiecewiseLinearEncoder(n_bins=2).fit([[0.0], [1.0], [2.0], [5.0]])
        >>> print(*encoder.get_feature_names_out())
        x0 x0_piece0 x0_piece1
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        pieces = [
            f"{name}_piece{i}"
            for name, edges in zip(names, self.bin_edges_, strict=True)
            for i in range(max(0, len(edges) - 1))
        ]
        return np.array([*names, *pieces], dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _checked(self, X: Any, *, reset: bool) -> NDArray[np.floating]:
        X = check_container(X, "X")
        dtype = np.float32 if is_single_precision(X) else (np.float64, np.float32)
        checked: NDArray[np.floating] = validate_data(self, X, dtype=dtype, reset=reset)
        return checked

    def _edges(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        if len(np.unique(column)) <= self.n_bins:
            return np.empty(0)
        return np.unique(np.quantile(column, np.linspace(0, 1, self.n_bins + 1)))

    def _pieces(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Cut each column into its pieces, which rise from 0 to 1."""
        cut = [
            np.clip((column[:, None] - edges[:-1]) / np.diff(edges), 0, 1)
            for column, edges in zip(X.T, self.bin_edges_, strict=True)
            if len(edges)
        ]
        return np.hstack(cut) if cut else np.empty((len(X), 0))

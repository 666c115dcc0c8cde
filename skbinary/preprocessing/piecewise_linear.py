"""Piecewise linear encoding of numerical features."""

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

_BOUND = 3.0  # in standard deviations
# Standard deviation of the bin features, where that of the numerical features is 1. With larger
# values, features with a smooth effect are learned less well.
_BIN_SCALE = 0.25
_MIN_DEVIATION = 1e-3  # bin features that vary less than this are not scaled up


class PiecewiseLinearEncoder(TransformerMixin, BaseEstimator):
    """Encode numerical features for neural networks, with one feature per quantile bin.

    MLPs learn smooth functions: sharp changes along a feature, or a feature with a long tail, need
    more data. The output contains every numerical feature, standardized and softly bounded, and in
    addition one feature per bin between its quantiles, which rises from 0 to 1 within the bin.

    Parameters
    ----------
    n_bins : int, default=8
        Number of bins of each feature, at least 2, with quantiles as edges. A value of more than
        ``1 / n_bins`` of the samples, such as a zero that stands for "none", gets bins to its
        neighbors, and the quantiles are those of the other samples. A feature with at most this
        many distinct values has a bin between each two of them, and one with two values has none.

    Attributes
    ----------
    bin_edges_ : list of ndarray of shape (n_edges,)
        The bin edges of each feature. Empty for features without bins.
    mean_ : ndarray of shape (n_features,)
        Mean of each feature.
    scale_ : ndarray of shape (n_features,)
        Standard deviation of each feature, or 1 where it is 0.
    n_features_in_ : int
        Number of features seen during ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if all of them are strings.

    Notes
    -----
    The feature of a bin from a to b is ``clip((x - a) / (b - a), 0, 1)``, which is equation 1 of
    [1]_. It is scaled to mean 0 and standard deviation 0.25. A feature z of mean 0 and standard
    deviation 1 is bounded by ``z / sqrt(1 + (z / 3) ** 2)``, as in [2]_.

    References
    ----------
    .. [1] Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep
       Learning", 2022.
    .. [2] Holzmüller, Grinsztajn and Steinwart, "Better by Default: Strong Pre-Tuned MLPs and
       Boosted Trees on Tabular Data", 2024.

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
        """Compute the bin edges, means and standard deviations of the features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, without missing values.
        y : None
            Ignored.

        Returns
        -------
        self : PiecewiseLinearEncoder
            The fitted encoder.

        Examples
        --------
        >>> from skbinary import PiecewiseLinearEncoder
        >>> PiecewiseLinearEncoder(n_bins=2).fit([[0.0], [1.0], [2.0], [5.0]]).bin_edges_
        [array([0. , 1.5, 5. ])]
        """
        with default_settings():
            return self._fit(X)

    def _fit(self, X: Any) -> Self:
        X = self._validate(X, reset=True)
        exact = X.astype(np.float64, copy=False)
        self.mean_, deviation = exact.mean(axis=0), exact.std(axis=0)
        self.scale_ = np.where(deviation > 0, deviation, 1.0)
        self.bin_edges_ = [self._find_edges(column) for column in exact.T]
        bins = self._bin_features(exact)
        self._bin_mean, deviation = bins.mean(axis=0), bins.std(axis=0)
        self._bin_scale = _BIN_SCALE / (deviation + _MIN_DEVIATION)
        return self

    def transform(self, X: Any) -> NDArray[np.floating]:
        """Encode features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, without missing values.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out)
            The bounded features, followed by the bin features, in the precision of X.

        Examples
        --------
        >>> from skbinary import PiecewiseLinearEncoder
        >>> X = [[0.0], [1.0], [2.0], [5.0]]
        >>> PiecewiseLinearEncoder(n_bins=2).fit(X).transform(X).round(2)
        array([[-1.01, -0.41, -0.17],
               [-0.53,  0.  , -0.17],
               [ 0.  ,  0.2 , -0.09],
               [ 1.41,  0.2 ,  0.43]])
        """
        check_is_fitted(self)
        with default_settings():
            return self._transform(X)

    def _transform(self, X: Any) -> NDArray[np.floating]:
        X = self._validate(X, reset=False)
        z = (X - self.mean_) / self.scale_
        bounded = z / np.sqrt(1 + (z / _BOUND) ** 2)
        bins = (self._bin_features(X) - self._bin_mean) * self._bin_scale
        return np.hstack([bounded, bins]).astype(X.dtype, copy=False)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the output features.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the input features. None uses ``feature_names_in_``, or x0, x1, ...

        Returns
        -------
        ndarray of str of shape (n_features_out,)
            The input names, followed by name_bin0, name_bin1, ... for each input name.

        Examples
        --------
        >>> from skbinary import PiecewiseLinearEncoder
        >>> encoder = PiecewiseLinearEncoder(n_bins=2).fit([[0.0], [1.0], [2.0], [5.0]])
        >>> print(*encoder.get_feature_names_out())
        x0 x0_bin0 x0_bin1
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        bins = [
            f"{name}_bin{i}"
            for name, edges in zip(names, self.bin_edges_, strict=True)
            for i in range(max(0, len(edges) - 1))
        ]
        return np.array([*names, *bins], dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _validate(self, X: Any, *, reset: bool) -> NDArray[np.floating]:
        X = check_container(X, "X")
        dtype = np.float32 if is_single_precision(X) else (np.float64, np.float32)
        checked: NDArray[np.floating] = validate_data(self, X, dtype=dtype, reset=reset)
        return checked

    def _find_edges(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        values, counts = np.unique(column, return_counts=True)
        if len(values) <= 2:
            return np.empty(0)
        if len(values) <= self.n_bins:
            return values
        is_frequent = counts > len(column) / self.n_bins
        frequent = np.flatnonzero(is_frequent)
        neighbors = np.clip(frequent[:, None] + [-1, 0, 1], 0, len(values) - 1)
        others = np.repeat(values[~is_frequent], counts[~is_frequent])
        quantiles = np.quantile(others, np.linspace(0, 1, self.n_bins + 1))
        return np.unique([*quantiles, *values[neighbors].ravel()])

    def _bin_features(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return one feature per bin, which rises from 0 to 1 within the bin."""
        features = [
            np.clip((column[:, None] - edges[:-1]) / np.diff(edges), 0, 1)
            for column, edges in zip(X.T, self.bin_edges_, strict=True)
            if len(edges)
        ]
        return np.hstack(features) if features else np.empty((len(X), 0))

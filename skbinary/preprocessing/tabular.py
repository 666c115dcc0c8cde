"""Encoding of data frames with numbers, gaps, categories and dates."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from skbinary.data.labels import check_labels, encode
from skbinary.data.plain import from_plain, to_plain
from skbinary.preprocessing.categories import (
    Lookup,
    cross_fit,
    find_frequent,
    has_identifiers,
    has_texts,
    look_up,
)
from skbinary.preprocessing.columns import (
    Column,
    Table,
    find_medians,
    impute,
    read_column,
    read_table,
)
from skbinary.preprocessing.piecewise_linear import PiecewiseLinearEncoder
from skbinary.runtime.defaults import default_settings

_NUMERIC = ("number", "date")
_DROPPED = ("constant", "missing", "identifier", "infrequent")
_PLURALS = {"number": "numbers", "date": "dates", "category": "strings"}
# With sparse output of a density of 5%, a linear model is trained in a ninth of the time of dense
# output, but a network needs a third more. Above, the network loses more than that.
_MAX_DENSITY = 0.05

# Measured on the tables of docs/quality.md: more than 8 bins raise the mean log loss with 5,000
# rows, 32 lower it with 20,000, and fewer than 8 gain nothing with 500.
_SAMPLES_PER_BIN, _MIN_BINS, _MAX_BINS = 625, 8, 32


class TabularEncoder(TransformerMixin, BaseEstimator):
    """Encode a data frame with numbers, gaps, categories and dates for a classifier.

    The columns may hold numbers, booleans, strings, categories, dates and durations, with missing
    values. The output is numeric and finite, of a scale that suits networks and linear models.

    - Numbers, booleans and durations (in seconds): missing values become the median, with a column
      "missing" of 0 and 1 if there were any in ``fit``. ``PiecewiseLinearEncoder`` encodes the
      result.
    - Dates: days since 1970, month, day of the month, day of the week and hour, as far as they
      vary, encoded like numbers. Times are taken as they are displayed, without their time zone.
    - Strings and categories with at most `max_categories` values: one-hot. Missing values are a
      category. Infrequent categories share one column.
    - Strings and categories with more values: the smoothed share of the positive class for each
      value, standardized. ``fit_transform`` cross-fits it, as scikit-learn's ``TargetEncoder``
      does, so ``fit_transform(X, y)`` differs from ``fit(X, y).transform(X)``. Without `y`, the
      most frequent values are one-hot.

    Columns that are constant or entirely missing are dropped, as are columns of strings that are
    nearly all distinct, such as names and identifiers. Texts, which have five words or more, are an
    error.

    Parameters
    ----------
    categorical_features : "from_dtype" or array-like of str, int or bool, default="from_dtype"
        Columns of numbers that are categories, such as codes: names, positions, or one boolean for
        each column. Columns of strings or of a categorical dtype always are. With "from_dtype",
        they are the only ones.
    n_bins : int or "auto", default="auto"
        Number of bins of ``PiecewiseLinearEncoder``. "auto" is one for every 625 rows, at least 8
        and at most 32: networks learn finer steps from more rows.
    max_categories : int, default=16
        Largest number of categories of a column that is one-hot encoded.
    min_frequency : int or float, default=0.001
        A category with fewer rows, or a smaller fraction of the rows, is infrequent. In
        ``transform``, an unknown category is encoded like an infrequent one if there were any, and
        as zeros otherwise.
    sparse_output : bool or "auto", default="auto"
        Whether the output is sparse. "auto" chooses sparse output if fewer than 5% of the values
        are nonzero. Data frames, which ``set_output`` asks for, are dense.
    dtype : {numpy.float32, numpy.float64}, default=numpy.float32
        Type of the output. The classifiers train in this precision.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds of the cross-fitted target encoding.

    Attributes
    ----------
    column_kinds_ : dict of str to str
        How each column is encoded: "number", "date", "one-hot" or "target". Or why it is dropped:
        "constant", "missing", "identifier", or "infrequent" if no category is frequent. Keys are
        positions if `X` has no column names.
    numeric_encoder_ : PiecewiseLinearEncoder or None
        The encoder of numbers and dates. None if there are none.
    n_features_in_ : int
        Number of columns seen during ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if all of them are strings.

    See Also
    --------
    PiecewiseLinearEncoder : Encodes numbers only.
    sklearn.preprocessing.TargetEncoder : Encodes categories by the mean of the target.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.pipeline import make_pipeline
    >>> from skbinary import TabularEncoder, TorchLogisticClassifier
    >>> X = pd.DataFrame({"age": [25, None, 47, 61], "city": ["Oslo", "Rome", "Oslo", None]})
    >>> y = ["no", "no", "yes", "yes"]
    >>> model = make_pipeline(TabularEncoder(), TorchLogisticClassifier()).fit(X, y)
    >>> model.predict(pd.DataFrame({"age": [58], "city": ["Kyiv"]}))
    array(['yes'], dtype='<U3')
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "categorical_features": ["array-like", StrOptions({"from_dtype"})],
        "n_bins": [Interval(Integral, 2, None, closed="left"), StrOptions({"auto"})],
        "max_categories": [Interval(Integral, 2, None, closed="left")],
        "min_frequency": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
        ],
        "sparse_output": ["boolean", StrOptions({"auto"})],
        "dtype": [Options(type, {np.float32, np.float64}), StrOptions({"float32", "float64"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        categorical_features: Any = "from_dtype",
        *,
        n_bins: int | Literal["auto"] = "auto",
        max_categories: int = 16,
        min_frequency: float = 0.001,
        sparse_output: bool | str = "auto",
        dtype: Any = np.float32,
        random_state: Any = None,
    ):
        self.categorical_features = categorical_features
        self.n_bins = n_bins
        self.max_categories = max_categories
        self.min_frequency = min_frequency
        self.sparse_output = sparse_output
        self.dtype = dtype
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn how to encode each column.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            Numbers, booleans, strings, categories, dates and durations. A data frame of pandas or
            polars, an array, or a list of rows.
        y : array-like of shape (n_samples,), default=None
            Labels of two classes. They are used for columns with more than `max_categories`
            categories only.

        Returns
        -------
        self : TabularEncoder
            The fitted encoder.

        Examples
        --------
        >>> from skbinary import TabularEncoder
        >>> X = [[1.0, "a", None], [2.0, "b", None], [4.0, "b", None]]
        >>> TabularEncoder().fit(X).column_kinds_
        {0: 'number', 1: 'one-hot', 2: 'missing'}
        """
        with default_settings():
            self._fit(X, y)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Learn how to encode each column, and encode the columns.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            As in ``fit``.
        y : array-like of shape (n_samples,), default=None
            As in ``fit``.

        Returns
        -------
        ndarray, sparse array or data frame of shape (n_samples, n_features_out)
            The encoded columns. Target encodings are cross-fitted: those of a row are computed
            from other rows.

        Examples
        --------
        >>> from skbinary import TabularEncoder
        >>> TabularEncoder().fit_transform([[1.0, "a"], [2.0, "b"], [2.0, "b"]]).round(2)
        array([[-1.28,  1.  ,  0.  ],
               [ 0.69,  0.  ,  1.  ],
               [ 0.69,  0.  ,  1.  ]], dtype=float32)
        """
        with default_settings():
            columns, encoded = self._fit(X, y)
            return self._assemble(columns, encoded)

    def transform(self, X: Any) -> Any:
        """Encode the columns of X.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            The columns of ``fit``. Those of a data frame may be in another order.

        Returns
        -------
        ndarray, sparse array or data frame of shape (n_samples, n_features_out)
            Numbers and dates, target encodings, columns "missing", and one-hot categories, in
            this order.

        Examples
        --------
        >>> from skbinary import TabularEncoder
        >>> encoder = TabularEncoder().fit([["a"], ["b"], ["b"], [None]])
        >>> encoder.transform([["b"], ["a"], [None], ["new"]])
        array([[0., 1., 0.],
               [1., 0., 0.],
               [0., 0., 1.],
               [0., 0., 0.]], dtype=float32)
        """
        check_is_fitted(self)
        with default_settings():
            columns = self._read(X)
            n_samples = len(next(iter(columns.values())).values)
            encoded = np.empty((n_samples, len(self._target_encodings)))
            for k, (i, encodings) in enumerate(self._target_encodings.items()):
                encoded[:, k] = look_up(columns[i], encodings)
            return self._assemble(columns, encoded)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the output features.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns. None uses ``feature_names_in_``, or x0, x1, ...

        Returns
        -------
        ndarray of str of shape (n_features_out,)
            For each column its name, with the part of a date, the bin, the category, "infrequent"
            or "missing" appended.

        Examples
        --------
        >>> from skbinary import TabularEncoder
        >>> encoder = TabularEncoder().fit([[1.0, "a"], [2.0, "b"], [2.0, None]])
        >>> print(*encoder.get_feature_names_out(["size", "kind"]))
        size kind_a kind_b kind_missing
        """
        check_is_fitted(self)
        inputs = _check_feature_names_in(self, input_features)
        names: list[str] = []
        if self.numeric_encoder_ is not None:
            numbers = [f"{inputs[i]}_{part}" if part else inputs[i] for i, part in self._medians]
            names += list(self.numeric_encoder_.get_feature_names_out(numbers))
        names += [inputs[i] for i in self._target_encodings]
        names += [f"{inputs[i]}_missing" for i in self._gaps]
        for i, (positions, infrequent) in self._one_hot.items():
            names += [f"{inputs[i]}_{'missing' if each is None else each}" for each in positions]
            names += [f"{inputs[i]}_infrequent"] if infrequent >= 0 else []
        return np.array(_make_distinct(names), dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = to_plain(super().__getstate__())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(from_plain(state))

    def _fit(self, X: Any, y: Any) -> tuple[dict[int, Column], NDArray[np.float64]]:
        """Set the fitted attributes, and return the columns and their cross-fitted encodings."""
        table = read_table(X, self)
        declared = self._find_declared(table)
        columns = {
            i: read_column(each, name, as_category=i in declared)
            for i, (each, name) in enumerate(zip(table.columns, table.names, strict=True))
        }
        kinds = {
            i: self._choose_kind(column, table.names[i], has_y=y is not None)
            for i, column in columns.items()
        }
        one_hot = {
            i: find_frequent(columns[i], self.min_frequency, self.max_categories)
            for i, kind in kinds.items()
            if kind == "one-hot"
        }
        kinds |= {i: "infrequent" for i, (frequent, _) in one_hot.items() if not frequent}
        _check_not_empty(kinds, table)
        medians = find_medians(columns)
        numeric_encoder = None
        if medians:
            numbers = impute(columns, medians)
            n_bins = _auto_bins(len(numbers)) if self.n_bins == "auto" else int(self.n_bins)
            numeric_encoder = PiecewiseLinearEncoder(n_bins).fit(numbers)
        targets = [i for i, kind in kinds.items() if kind == "target"]
        encodings, encoded = self._cross_fit([columns[i] for i in targets], table, y)
        # Nothing was set before, so that an error leaves the encoder as it was.
        validate_data(self, table.X, skip_check_array=True)
        self.column_kinds_ = {table.names[i]: kind for i, kind in kinds.items()}
        self.numeric_encoder_ = numeric_encoder
        self._kinds = {i: columns[i].kind for i, kind in kinds.items() if kind not in _DROPPED}
        self._medians = medians
        self._target_encodings = dict(zip(targets, encodings, strict=True))
        self._target_mean, deviation = encoded.mean(axis=0), encoded.std(axis=0)
        self._target_scale = np.where(deviation > 0, deviation, 1.0)
        self._gaps = [
            i for i, kind in kinds.items() if kind in _NUMERIC and columns[i].is_missing().any()
        ]
        self._one_hot = {i: each for i, each in one_hot.items() if kinds[i] == "one-hot"}
        return columns, encoded

    def _read(self, X: Any) -> dict[int, Column]:
        """Read the columns of new rows that are not dropped."""
        table = read_table(X, self, order=list(self.column_kinds_))
        validate_data(self, table.X, skip_check_array=True, reset=False)
        columns = {}
        for i, kind in self._kinds.items():
            name = table.names[i]
            column = read_column(table.columns[i], name, as_category=kind == "category")
            if column.kind not in (kind, "missing"):
                raise ValueError(
                    f"Column {name!r} of X must hold {_PLURALS[kind]}, as in fit, got "
                    f"{_PLURALS[column.kind]}. Convert the column."
                )
            columns[i] = column
        return columns

    def _find_declared(self, table: Table) -> set[int]:
        """Return the positions of the columns that `categorical_features` names."""
        given, n_features = self.categorical_features, len(table.columns)
        if isinstance(given, str):
            return set()
        values = np.asarray(given)
        if values.size == 0:
            return set()
        if values.dtype.kind == "b" and values.shape == (n_features,):
            return set(np.flatnonzero(values).tolist())
        positions: dict[Any, int] = {
            name: i for i, name in enumerate(table.names) if isinstance(name, str)
        }
        positions |= {i: i for i in range(n_features)}
        unknown = [each for each in values.ravel().tolist() if each not in positions]
        if values.dtype.kind not in "iuUO" or values.ndim != 1 or unknown:
            got = f"{unknown[0]!r}" if unknown else f"an array of shape {values.shape}"
            raise ValueError(
                "categorical_features must hold names or positions of columns, or one boolean for "
                f"each of the {n_features} columns, got {got}. Name the columns of X that hold "
                "categories."
            )
        return {positions[each] for each in values.tolist()}

    def _choose_kind(self, column: Column, name: Any, has_y: bool) -> str:
        """Return what is done with a column."""
        if column.kind in _NUMERIC:
            return column.kind if column.varies() or column.is_missing().any() else "constant"
        if column.kind == "missing" or len(column.labels) == 1:
            return "missing" if column.kind == "missing" else "constant"
        if has_texts(column):
            raise ValueError(
                f"Column {name!r} of X must hold categories, got {len(column.labels)} different "
                "texts. Encode it with scikit-learn's TfidfVectorizer or with skrub, or drop it."
            )
        if len(column.labels) - (None in column.labels) <= self.max_categories:
            return "one-hot"
        if has_identifiers(column):
            return "identifier"
        return "target" if has_y else "one-hot"

    def _cross_fit(
        self, columns: list[Column], table: Table, y: Any
    ) -> tuple[list[Lookup], NDArray[np.float64]]:
        """Return the encodings of categories, and the cross-fitted ones of all rows."""
        if not columns:
            return [], np.empty((table.n_samples, 0))
        labels = check_labels(self, table.X, y)
        classes = np.unique(labels)
        if len(classes) != 2:
            raise ValueError(
                f"y must hold two classes to encode columns with more than {self.max_categories} "
                f"categories, got {len(classes)}. Raise max_categories, or drop these columns."
            )
        return cross_fit(columns, encode(labels, classes), self.random_state)

    def _assemble(
        self, columns: dict[int, Column], encoded: NDArray[np.float64]
    ) -> NDArray[np.floating] | sp.csr_array:
        """Return the output features of all columns, and of target encodings."""
        n_samples = len(encoded)
        blocks: list[NDArray[Any]] = []
        if self.numeric_encoder_ is not None:
            blocks.append(self.numeric_encoder_.transform(impute(columns, self._medians)))
        blocks.append((encoded - self._target_mean) / self._target_scale)
        blocks += [columns[i].is_missing()[:, None] for i in self._gaps]
        dense = np.concatenate(blocks, axis=1, dtype=self.dtype, casting="same_kind")
        positions = np.empty((n_samples, len(self._one_hot)), dtype=np.int32)
        n_one_hot = 0
        for k, (i, (known, infrequent)) in enumerate(self._one_hot.items()):
            position = look_up(columns[i], (known, infrequent))
            positions[:, k] = np.where(position < 0, -1, n_one_hot + position)
            n_one_hot += len(known) + (infrequent >= 0)
        if self._is_sparse(dense.shape[1], n_one_hot):
            one_hot = _one_hot_sparse(positions, n_one_hot, self.dtype)
            return sp.hstack([sp.csr_array(dense), one_hot], format="csr")
        output = np.zeros((n_samples, dense.shape[1] + n_one_hot), dtype=self.dtype)
        output[:, : dense.shape[1]] = dense
        rows, _ = np.nonzero(positions >= 0)
        output[rows, dense.shape[1] + positions[positions >= 0]] = 1
        return output

    def _is_sparse(self, n_dense: int, n_one_hot: int) -> bool:
        if _get_output_config("transform", self)["dense"] != "default":
            return False
        if isinstance(self.sparse_output, str):
            return n_dense + len(self._one_hot) < _MAX_DENSITY * (n_dense + n_one_hot)
        return bool(self.sparse_output)


def _one_hot_sparse(positions: NDArray[np.int32], n_features: int, dtype: Any) -> sp.csr_array:
    """Return a matrix with ones at the positions of each row; -1 stands for none."""
    is_known = positions >= 0
    ends = np.cumsum([0, *is_known.sum(axis=1)], dtype=np.int32)
    ones = np.ones(ends[-1], dtype=dtype)
    return sp.csr_array((ones, positions[is_known], ends), shape=(len(positions), n_features))


def _auto_bins(n_samples: int) -> int:
    return min(max(n_samples // _SAMPLES_PER_BIN, _MIN_BINS), _MAX_BINS)


def _check_not_empty(kinds: dict[int, str], table: Table) -> None:
    if set(kinds.values()) <= set(_DROPPED):
        found = ", ".join(sorted(set(kinds.values())))
        raise ValueError(
            "X must have a column with different values that are not identifiers, got "
            f"n_samples={table.n_samples} and columns of these kinds: {found}. Pass more rows or "
            "other columns."
        )


def _make_distinct(names: list[str]) -> list[str]:
    """Append underscores to names that were used before."""
    used: set[str] = set()
    for i, name in enumerate(names):
        while name in used:
            name += "_"
        used.add(name)
        names[i] = name
    return names

"""Check the data that users pass to ``fit``, ``predict`` and the like."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import _get_feature_names, assert_all_finite, validate_data
from torch import Tensor

from skbinary.data.checked import CheckedData, Table
from skbinary.data.containers import check_container, is_single_precision
from skbinary.data.labels import check_groups, check_labels, encode, find_classes
from skbinary.data.scales import scale_difference
from skbinary.data.weights import check_weight
from skbinary.runtime.warnings import warn


def check_data(
    estimator: Any,
    table: tuple[Any, Any, Any],
    validation: tuple[Any, Any, Any],
    *,
    reset: bool,
    groups: Any = None,
    classes: NDArray[np.generic] | None = None,
) -> CheckedData:
    """Check everything that is passed to ``fit``.

    Parameters
    ----------
    estimator : estimator
        Its ``n_features_in_``, ``feature_names_in_`` and ``sample_shape_`` are set if `reset`, and
        compared otherwise.
    table, validation : tuple of (X, y, sample_weight)
        The training rows, and the validation rows or three times None.
    reset : bool
        Whether the features are new to the estimator.
    groups : array-like of shape (n_samples,) or None, default=None
        The group of each training row.
    classes : ndarray of shape (2,) or None, default=None
        The labels, if they are known beforehand.

    Returns
    -------
    CheckedData
    """
    given, y, sample_weight = table
    X = check_rows(estimator, given, reset=reset)
    y = check_labels(estimator, X, y)
    weight = check_weight(sample_weight, X)
    if classes is None:
        classes = find_classes(type(estimator).__name__, y)
    encode(y, classes)  # raises for unknown labels
    validation_table = _check_validation(estimator, validation, classes)
    if validation_table is not None:
        _warn_if_scales_differ(estimator, X, validation_table.X)
    group_codes = check_groups(groups, X)
    return CheckedData(Table(X, y, weight), validation_table, classes, given, group_codes)


def _check_validation(
    estimator: Any, validation: tuple[Any, Any, Any], classes: NDArray[np.generic]
) -> Table | None:
    X, y, sample_weight = validation
    if X is None and y is None and sample_weight is None:
        return None
    if X is None or y is None:
        given, missing = ("X_val", "y_val") if y is None else ("y_val", "X_val")
        if X is None and y is None:
            given, missing = "sample_weight_val", "X_val and y_val"
        raise ValueError(
            f"X_val and y_val must be passed together, got {given} alone. Pass {missing} as well, "
            "or none of them."
        )
    X = check_rows(estimator, X, reset=False, name="X_val")
    y = check_labels(estimator, X, y, "y_val")
    encode(y, classes, "y_val")  # raises for unknown labels
    return Table(X, y, check_weight(sample_weight, X, "sample_weight_val"))


def _warn_if_scales_differ(estimator: Any, X: Any, X_val: Any) -> None:
    """Warn if the validation rows seem to lack a transformation of the training rows."""
    found = scale_difference(X, X_val)
    if found is None:
        return
    names = getattr(estimator, "feature_names_in_", None)
    name = found.column if names is None else repr(str(names[found.column]))
    warn(
        "The columns of X_val must be on the scale of those of X, got the "
        f"{found.statistic} {found.value_val:.3g} instead of {found.value:.3g} in column {name}, "
        f"and another scale in {found.n_columns} of {found.n_compared} columns. In a pipeline, "
        'X_val is transformed only with metadata routing and Pipeline(transform_input=["X_val"]), '
        "as the docstring of fit shows."
    )


def check_rows(estimator: Any, X: Any, *, reset: bool, finite: bool = True, name: str = "X") -> Any:
    """Check rows, and set or compare the number, names and shape of their features.

    Parameters
    ----------
    estimator : estimator
        Its ``n_features_in_``, ``feature_names_in_`` and ``sample_shape_`` are set if `reset`, and
        compared otherwise.
    X : array-like, sparse matrix, data frame or tensor
        The rows. They may have more than two dimensions if the estimator takes images.
    reset : bool
        Whether the features are new to the estimator.
    finite : bool, default=True
        Whether to check for NaN and infinity.
    name : str, default="X"
        Name of the rows in messages.

    Returns
    -------
    ndarray, numpy.memmap, CSR matrix or tensor of shape (n_samples, n_features)
        A memory map stays a memory map of its type, and a tensor on an accelerator stays there.
        Values of float32 or less become float32, and all others float64.
    """
    if not reset and _is_valid_array(estimator, X):
        if finite:
            assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")
        return X
    if isinstance(X, NamedColumns):
        return _check_named(estimator, X, reset=reset, name=name)
    X = check_container(X, name)
    dtype = np.float32 if is_single_precision(X) else [np.float64, np.float32]
    if hasattr(X, "to_numpy") and hasattr(X, "columns") and _get_feature_names(X) is None:
        X = _PolarsColumns(X)
    if estimator._takes_images:
        X = _flatten(estimator, X, reset=reset)
    if isinstance(X, Tensor):
        return _check_tensor(estimator, X, reset=reset)
    if isinstance(X, np.memmap):
        return _check_memmap(estimator, X, reset=reset)
    try:
        X = validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=dtype,
            accept_large_sparse=True,
            ensure_all_finite=finite,
        )
    except TypeError as error:
        if "NAType" not in str(error):
            raise
        raise ValueError(
            f"{name} must hold a number in each cell, got <NA>, a missing value. "
            "Impute the missing values, or drop these rows."
        ) from None
    if sp.issparse(X) and not X.has_canonical_format:
        # Converting to CSC and back sorts the columns, in less time than sort_indices takes.
        X = X.tocsc().tocsr()
        X.sum_duplicates()
    return X


def _is_valid_array(estimator: Any, X: Any) -> bool:
    """Check whether X is a float array that fits the estimator and needs no other check."""
    return (
        type(X) is np.ndarray
        and X.dtype in (np.float64, np.float32)
        and X.ndim == 2
        and X.shape[0] > 0
        and X.shape[1] == estimator.n_features_in_
        and not hasattr(estimator, "feature_names_in_")
        and not hasattr(estimator, "sample_shape_")
    )


class NamedColumns(NamedTuple):
    """A matrix of float32 or float64 whose columns have names, as those of a data frame.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_features)
    names : list of str
    """

    values: NDArray[np.floating]
    names: list[str]


def _check_named(estimator: Any, X: NamedColumns, *, reset: bool, name: str) -> NDArray[Any]:
    """Check a matrix whose columns have names, which are set or compared."""
    if reset:
        estimator.__dict__.pop("sample_shape_", None)
        estimator.n_features_in_ = len(X.names)
        estimator.feature_names_in_ = np.array(X.names, dtype=object)
    elif list(getattr(estimator, "feature_names_in_", [])) != X.names:
        fitted = getattr(estimator, "feature_names_in_", None)
        raise ValueError(
            f"{name} must have the columns of fit in the same order, "
            f"{'without names' if fitted is None else fitted.tolist()}, got {X.names}. Select "
            "these columns."
        )
    checked: NDArray[Any] = check_array(
        X.values, dtype=[np.float64, np.float32], estimator=estimator, input_name=name
    )
    return checked


class _PolarsColumns:
    """A polars frame for versions of scikit-learn that do not read its column names."""

    def __init__(self, frame: Any):
        self.columns = list(frame.columns)
        self._values = np.asarray(frame.to_numpy())
        self.shape, self.dtype = self._values.shape, self._values.dtype

    def __len__(self) -> int:
        return len(self._values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._values.astype(dtype or self.dtype, copy=bool(copy))

    def __dataframe__(self, *args: Any, **kwargs: Any) -> _PolarsColumns:
        return self

    def column_names(self) -> list[str]:
        return self.columns


def _flatten(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Flatten each sample in C order, and set or compare the shape of the samples."""
    shape = tuple(int(n) for n in np.shape(X)[1:]) if _has_more_than_2_dimensions(X) else None
    if reset:
        estimator.__dict__.pop("sample_shape_", None)
        if shape is not None:
            estimator.sample_shape_ = shape
    else:
        fitted_shape = getattr(estimator, "sample_shape_", None)
        if fitted_shape != shape:
            wanted = fitted_shape if fitted_shape is not None else (estimator.n_features_in_,)
            raise ValueError(
                f"The samples in X must have the shape {wanted}, as in fit, got "
                f"{tuple(np.shape(X)[1:])}. Reshape X to "
                f"(n_samples, {', '.join(map(str, wanted))})."
            )
    if shape is None:
        return X
    if isinstance(X, list):
        X = np.asarray(X)
    return X.reshape(len(X), math.prod(shape))


def _has_more_than_2_dimensions(X: Any) -> bool:
    if isinstance(X, list):
        return len(X) > 0 and np.ndim(X[0]) > 1
    return getattr(X, "ndim", 2) > 2


def _check_memmap(estimator: Any, X: np.memmap[Any, Any], *, reset: bool) -> Any:
    """Check a memory map, which stays one unless its type must be converted."""
    is_kept = X.dtype.kind in "biuf" and X.dtype.itemsize <= 8
    dtype = None if is_kept else [np.float64, np.float32]
    checked = validate_data(estimator, X, reset=reset, dtype=dtype)
    if np.may_share_memory(checked, X):
        return np.asanyarray(checked).view(np.memmap)
    return checked


def _check_tensor(estimator: Any, X: Tensor, *, reset: bool) -> Tensor:
    """Check a tensor on an accelerator as ``validate_data`` checks an array, without moving it."""
    if X.is_complex():
        raise ValueError(f"Complex data not supported. X is a tensor of {X.dtype}.")
    if X.ndim != 2:
        raise ValueError(f"X must be 2-dimensional, got a tensor of shape {tuple(X.shape)}.")
    # scikit-learn checks a row of zeros of the same width instead.
    validate_data(estimator, np.zeros((1, X.shape[1])), reset=reset, ensure_min_features=1)
    if len(X) == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={tuple(X.shape)}) while a minimum of 1 is "
            "required."
        )
    if X.is_floating_point() and not bool(torch.isfinite(X).all()):
        raise ValueError(
            "Input X contains NaN or infinity. Impute the missing values, or drop these rows."
        )
    return X

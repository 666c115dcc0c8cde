"""What users hand in, checked and brought into the form that training needs."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _get_feature_names,
    assert_all_finite,
    check_array,
    check_consistent_length,
    column_or_1d,
    validate_data,
)
from torch import Tensor

from skbinary.data.containers import check_container, first_missing, is_single
from skbinary.data.rows import DenseRows, MappedRows, Rows, SparseRows

_CPU = torch.device("cpu")
# Sums and products of such weights keep their digits, and do not overflow.
_SMALLEST_ORDINARY, _LARGEST_ORDINARY = 1e-100, 1e100


def check_rows(estimator: Any, X: Any, *, reset: bool, finite: bool = True, name: str = "X") -> Any:
    """Check rows, and remember or compare their width, names and shape.

    Parameters
    ----------
    estimator : estimator
        Its ``n_features_in_``, ``feature_names_in_`` and ``sample_shape_`` are set if `reset`,
        else they are what X must match.
    X : array-like, sparse matrix, data frame or tensor
        The rows. They may have more than two dimensions if the estimator's tags say so.
    reset : bool
        Whether this is the first look at the data.
    finite : bool, default=True
        Whether to look for NaN and infinity.
    name : str, default="X"
        Name of the rows in messages.

    Returns
    -------
    ndarray, numpy.memmap, CSR matrix or tensor of shape (n_samples, n_features)
        A memory map stays one of any real type, and a tensor on an accelerator stays there. Numbers
        of float32 or less become float32, and everything else becomes float64.
    """
    if not reset and _fits(estimator, X):
        if finite:
            assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")
        return X
    X = check_container(X, name)
    single = is_single(X)
    if hasattr(X, "to_numpy") and hasattr(X, "columns") and _get_feature_names(X) is None:
        X = _NamedColumns(X)
    shape = np.shape(X)[1:] if _is_deep(X) else None
    if estimator._takes_images:
        X = _flat(estimator, X, shape, reset=reset)
    if isinstance(X, Tensor):
        return _check_tensor(estimator, X, reset=reset)
    if isinstance(X, np.memmap):
        kept = X.dtype.kind in "biuf" and X.dtype.itemsize <= 8
        checked = validate_data(
            estimator, X, reset=reset, dtype=None if kept else [np.float64, np.float32]
        )
        return (
            np.asanyarray(checked).view(np.memmap) if np.may_share_memory(checked, X) else checked
        )
    try:
        X = validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=np.float32 if single else [np.float64, np.float32],
            accept_large_sparse=True,
            ensure_all_finite=finite,
        )
    except TypeError as error:
        if "NAType" not in str(error):
            raise
        raise ValueError(
            f"{name} must hold a number in each place, got <NA>, for a missing value. "
            "Impute the missing values, or drop these rows."
        ) from None
    if sp.issparse(X) and not X.has_canonical_format:
        # There and back again is a copy whose columns are sorted, in less time than sorting takes.
        X = X.tocsc().tocsr()
        X.sum_duplicates()
    return X


def _fits(estimator: Any, X: Any) -> bool:
    """Tell whether X is an array of just the form that is wanted, so that nothing else is asked."""
    return (
        type(X) is np.ndarray
        and X.dtype in (np.float64, np.float32)
        and X.ndim == 2
        and X.shape[0] > 0
        and X.shape[1] == estimator.n_features_in_
        and not hasattr(estimator, "feature_names_in_")
        and not hasattr(estimator, "sample_shape_")
    )


class _NamedColumns:
    """A polars frame for a scikit-learn that is older than it, and reads no names from it."""

    def __init__(self, frame: Any):
        self.columns = list(frame.columns)
        self._values = np.asarray(frame.to_numpy())
        self.shape, self.dtype = self._values.shape, self._values.dtype

    def __len__(self) -> int:
        return len(self._values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._values.astype(dtype or self.dtype, copy=bool(copy))

    def __dataframe__(self, *args: Any, **kwargs: Any) -> _NamedColumns:
        return self

    def column_names(self) -> list[str]:
        return self.columns


def _is_deep(X: Any) -> bool:
    if isinstance(X, list):
        return len(X) > 0 and np.ndim(X[0]) > 1
    return getattr(X, "ndim", 2) > 2


def _flat(estimator: Any, X: Any, shape: tuple[int, ...] | None, *, reset: bool) -> Any:
    """Flatten each sample in C order, after a look at its shape."""
    if reset:
        estimator.__dict__.pop("sample_shape_", None)
        if shape is not None:
            estimator.sample_shape_ = tuple(int(n) for n in shape)
    else:
        known = getattr(estimator, "sample_shape_", None)
        if known != (None if shape is None else tuple(shape)):
            given = np.shape(X)[1:]
            wanted = known if known is not None else (estimator.n_features_in_,)
            raise ValueError(
                f"The samples in X must have the shape {wanted} that fit has seen, got "
                f"{tuple(given)}. Reshape X to (n_samples, {', '.join(map(str, wanted))})."
            )
    if shape is None:
        return X
    if isinstance(X, list):
        X = np.asarray(X)
    return X.reshape(len(X), -1)


def _check_tensor(estimator: Any, X: Tensor, *, reset: bool) -> Tensor:
    """Do for a tensor on an accelerator what validate_data does for an array, without moving it."""
    if X.is_complex():
        raise ValueError(f"Complex data not supported. X is a tensor of {X.dtype}.")
    if X.ndim != 2:
        raise ValueError(f"X must be 2-dimensional, got a tensor of shape {tuple(X.shape)}.")
    # One row of zeros carries width and names through scikit-learn's own checks.
    validate_data(estimator, np.zeros((1, X.shape[1])), reset=reset, ensure_min_features=1)
    if len(X) == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={tuple(X.shape)}) while a minimum of 1 is "
            "required."
        )
    if X.is_floating_point() and not bool(torch.isfinite(X).all()):
        raise ValueError(
            "Input X contains NaN or infinity. Impute or drop these rows before calling fit."
        )
    return X


def check_labels(estimator: Any, X: Any, y: Any, name: str = "y") -> NDArray[np.generic]:
    """Check that y holds one label for each row.

    Returns
    -------
    ndarray of shape (n_samples,)
    """
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None. Pass the labels of the rows."
        )
    y = _as_array(y, name)
    if isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "biuUS":
        # Whole numbers and words are labels, whatever their values.
        check_consistent_length(X, y)
        return y
    check_gaps(y, name)
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "c":
        raise ValueError(f"Complex data not supported. {name} must hold labels.")
    assert_all_finite(y, input_name=name, estimator_name=type(estimator).__name__)
    check_classification_targets(y)
    check_consistent_length(X, y)
    return y


def check_gaps(y: Any, name: str = "y") -> None:
    """Check that no label is None, NA or another object for a missing value."""
    if sp.issparse(y):
        return
    labels = np.asarray(y)
    gap = first_missing(labels)
    if gap is not None:
        raise ValueError(
            f"{name} must hold a label for each row, got {labels.flat[gap]} in row {gap}, "
            "which is NaN, None or another missing value. Drop these rows, or label them."
        )


def _as_array(values: Any, name: str) -> Any:
    """Check labels or weights, and move tensors to CPU memory."""
    if isinstance(values, Tensor):
        values = values.cpu()
    return check_container(values, name)


def two_classes(estimator: Any, y: NDArray[np.generic]) -> NDArray[np.generic]:
    """Give the two labels, sorted, or say why there are not two."""
    classes = np.unique(y)
    if len(classes) == 2:
        return classes
    name = type(estimator).__name__
    if len(classes) == 1:
        raise ValueError(
            f"y must hold two classes, got one class, {classes.tolist()[0]!r}. {name} "
            "cannot learn from one class: check how the rows were selected, or pass both classes "
            "to partial_fit."
        )
    kind = type_of_target(y, input_name="y")
    raise ValueError(
        "Only binary classification is supported. The type of the target is "
        f"{kind}, got {len(classes)} classes. Wrap {name} in "
        "sklearn.multiclass.OneVsRestClassifier."
    )


def encode(
    y: NDArray[np.generic], classes: NDArray[np.generic], name: str = "y"
) -> NDArray[np.float64]:
    """Give 1 for the positive class and 0 for the other."""
    positive: NDArray[np.bool_] = y == classes[1]
    if not np.all(positive | (y == classes[0])):
        unknown = [label for label in np.unique(y).tolist() if label not in classes.tolist()]
        raise ValueError(
            f"{name} must hold the classes {classes.tolist()} only, got {unknown} as well. Drop "
            "these rows, or fit anew with all classes."
        )
    return positive.astype(np.float64)


def check_weight(sample_weight: Any, X: Any, name: str = "sample_weight") -> Any:
    """Check the weights of rows.

    Returns
    -------
    ndarray of float64 of shape (n_samples,) or None
    """
    if sample_weight is None:
        return None
    if isinstance(sample_weight, str | Mapping):
        raise ValueError(
            f"{name} must have one number for each row, got {sample_weight!r}. Weights of "
            "classes are given as the parameter class_weight."
        )
    sample_weight = _as_array(sample_weight, name)
    if isinstance(sample_weight, Real):
        sample_weight = np.full(X.shape[0], sample_weight)
    weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name=name)
    if weight.shape != (X.shape[0],):
        raise ValueError(
            f"{name} must have one number for each row, shape ({X.shape[0]},), got shape "
            f"{weight.shape}. Give every row a weight."
        )
    if np.any(weight < 0):
        raise ValueError(
            f"Negative values in data passed to `{name}`: weights must be zero or more, got "
            f"{weight.min():g}. Drop rows that shall not count, or give them weight 0."
        )
    if not np.any(weight > 0):
        raise ValueError(
            f"{name} must not be all zero. Sample weights must contain at least one non-zero "
            "number."
        )
    return weight


def check_groups(groups: Any, X: Any, name: str = "groups") -> NDArray[np.intp] | None:
    """Check the groups of rows, and number them.

    Returns
    -------
    ndarray of int of shape (n_samples,) or None
    """
    if groups is None:
        return None
    values = _as_array(groups, name)
    if sp.issparse(values) or np.ndim(values) == 0:
        what = "a sparse matrix" if sp.issparse(values) else f"{groups!r}"
        raise ValueError(
            f"{name} must be an array with one entry for each row, got {what}. Give every "
            "row a group."
        )
    groups = np.asarray(values)
    groups = groups[:, 0] if groups.ndim == 2 and groups.shape[1] == 1 else groups
    if groups.shape != (X.shape[0],):
        got = len(groups) if groups.ndim == 1 else f"shape {groups.shape}"
        raise ValueError(
            f"{name} must have one entry for each row, {X.shape[0]}, got {got}. Give every "
            "row a group."
        )
    gap = first_missing(groups)
    if gap is not None:
        raise ValueError(
            f"{name} must hold a group for each row, got {groups[gap]} in row {gap}, which "
            "is NaN, None or another missing value. Drop these rows, or name their groups."
        )
    assert_all_finite(groups, input_name=name)
    try:
        codes: NDArray[np.intp] = np.unique(groups, return_inverse=True)[1]
    except TypeError:
        raise ValueError(
            f"{name} must be of one type that can be sorted, such as int or str, got values of "
            "several types. Convert them."
        ) from None
    return codes


def scale_weights(*factors: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Multiply weights, and divide the product by a power of two.

    The largest weight ends up between 1 and 2, so that no weight overflows or is rounded to zero in
    another precision, and the others keep all their digits.

    Parameters
    ----------
    *factors : ndarray of shape (n_samples,)
        Weights of zero or more.

    Returns
    -------
    weights : ndarray of shape (n_samples,)
    exponent : int
        The product of the factors is ``weights * 2 ** exponent``.
    """
    weights, exponent = np.ones(1), 0
    for factor in factors:
        scaled, own = _scaled(factor)
        weights, exponent = weights * scaled, exponent + own
    weights, own = _scaled(weights)
    return weights, exponent + own


def _scaled(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    largest = float(np.max(weights, initial=0.0))
    exponent = int(np.frexp(largest)[1]) - 1 if largest > 0 else 0
    return np.ldexp(weights, -exponent), exponent


def of_ordinary_size(weights: NDArray[Any]) -> NDArray[Any]:
    """Divide weights by a power of two where they are so large or small that sums lose digits."""
    if _SMALLEST_ORDINARY <= np.max(weights, initial=0.0) <= _LARGEST_ORDINARY:
        return weights
    return scale_weights(weights)[0]


def weigh_classes(
    class_weight: Any,
    classes: NDArray[np.generic],
    y: NDArray[np.generic],
    sample_weight: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Give the weights of the two classes.

    ``"balanced"`` is ``total weight / (2 * weight of the class)``, as in scikit-learn, and 1 where
    there is but one class to balance.
    """
    if isinstance(class_weight, dict):
        _check_class_weight(class_weight, classes)
    if class_weight is None:
        return np.ones(2)
    counted = y if sample_weight is None else y[sample_weight > 0]
    if class_weight == "balanced" and len(np.unique(counted)) < 2:
        return np.ones(2)
    if sample_weight is not None:
        sample_weight, _ = scale_weights(sample_weight)  # balance does not depend on their scale
    weights: NDArray[np.float64] = compute_class_weight(
        class_weight, classes=classes, y=y, sample_weight=sample_weight
    )
    if len(counted) and not np.any(weights[np.isin(classes, counted)] > 0):
        raise ValueError(
            "class_weight and sample_weight must leave rows with a weight, got "
            f"class_weight={class_weight!r} with rows of {np.unique(counted).tolist()} only"
            ". Give that class a weight above zero."
        )
    return weights


def _check_class_weight(class_weight: dict[Any, Any], classes: NDArray[np.generic]) -> None:
    known = classes.tolist()
    bad = [w for w in class_weight.values() if not (isinstance(w, Real) and 0 <= float(w) < np.inf)]
    if bad:
        raise ValueError(
            f"class_weight must hold finite numbers of zero or more, got {bad[0]!r}. Give "
            "both classes a weight above zero."
        )
    if all(class_weight.get(label, 1) == 0 for label in known):
        raise ValueError(
            f"class_weight must not be zero for both classes, got {class_weight!r}. Give "
            "both classes a weight above zero."
        )


def as_rows(X: Any, device: torch.device, dtype: torch.dtype, *, convert: bool) -> Rows:
    """Put checked rows on a device.

    Parameters
    ----------
    X : what ``check_rows`` gives
    device : torch.device
    dtype : torch.dtype
        The precision of the computation.
    convert : bool
        Whether dense rows are converted to `dtype` at once. Otherwise each batch is.

    Returns
    -------
    Rows
    """
    if sp.issparse(X):
        values = torch.as_tensor(_writable(X.data)).to(device=device, dtype=dtype)
        return SparseRows(
            torch.as_tensor(_writable(X.indptr)).to(device),
            torch.as_tensor(_writable(X.indices)).to(device),
            values,
            X.shape[1],
            dtype,
        )
    if isinstance(X, np.memmap):
        return MappedRows(X, dtype, device)
    values = X if isinstance(X, Tensor) else as_tensor(X)
    fits = values.dtype == dtype and values.device == device and values.is_contiguous()
    if convert and not fits:
        # Converted and laid out row by row in one go, so that there is never a second copy.
        values = torch.empty(values.shape, dtype=dtype, device=device).copy_(values)
    return DenseRows(values if values.device == device else values.to(device), dtype)


def placed(X: Any, device: torch.device) -> Any:
    """Put rows that many models will score on their device once, or leave them as they are."""
    is_plain = type(X) is np.ndarray and X.dtype in (np.float32, np.float64)
    return as_tensor(X, device) if is_plain and device.type == "cuda" else X


def as_tensor(array: NDArray[Any], device: torch.device = _CPU) -> Tensor:
    """Give a tensor on the memory of an array, or on a copy where torch cannot share it."""
    tensor = torch.from_numpy(_writable(array))
    return tensor if device == _CPU else tensor.to(device)


def _writable(array: NDArray[Any]) -> NDArray[Any]:
    # torch knows no read-only memory and no negative strides.
    if array.flags.writeable and all(step >= 0 for step in array.strides):
        return array
    return np.array(array, order="C")

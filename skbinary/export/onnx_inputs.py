"""Rows as the inputs of an ONNX graph: one matrix, or one tensor for each column."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from skbinary.data.containers import as_array
from skbinary.preprocessing.columns import read_column, to_numpy

# NumPy types that keep their type. The others get the next larger one of these.
_KEPT = {np.dtype(each) for each in (np.float32, np.float64, np.int32, np.int64, np.bool_)}


def to_arrays(X: Any) -> dict[str, NDArray[Any]]:
    """Return the inputs of a graph by name.

    Parameters
    ----------
    X : array-like, sparse matrix, data frame or tensor of shape (n_samples, ...)

    Returns
    -------
    dict of str to ndarray
        One array of shape (n_samples, 1) for each column of a data frame, under its name, and of
        an array of objects of several types, under x0, x1, ... All others are one array, X.
    """
    X = as_array(X, "X")
    if sp.issparse(X):
        X = X.toarray()
    if hasattr(X, "columns"):
        columns = [(str(name), X[name]) for name in X.columns]
        return {name: _as_column(column, name) for name, column in columns}
    array = np.asarray(X, dtype=object if isinstance(X, list | tuple) else None)
    if array.dtype == object and isinstance(X, list | tuple):
        array = _narrowed(array)
    if array.ndim == 1 and array.dtype.kind in "OUST":  # texts
        array = array[:, None]
    if array.dtype.kind in "biuf":
        return {"X": _as_numbers(array)}
    inputs = {f"x{i}": _as_column(column, i) for i, column in enumerate(array.T)}
    if all(each.dtype == object for each in inputs.values()):
        return {"X": np.concatenate(list(inputs.values()), axis=1)}
    return inputs


def tensor_type(array: NDArray[Any]) -> Any:
    """Return the type of skl2onnx for an array, with any number of rows."""
    from skl2onnx.common import data_types

    names = {"float32": "Float", "float64": "Double", "bool": "Boolean", "object": "String"}
    name = names.get(array.dtype.name, array.dtype.name.capitalize())
    return getattr(data_types, f"{name}TensorType")([None, *array.shape[1:]])


def _narrowed(array: NDArray[np.object_]) -> NDArray[Any]:
    """Return numbers in a list as numbers, and all else as objects."""
    try:
        numbers = np.asarray(array.tolist())
    except ValueError:
        return array
    return numbers if numbers.dtype.kind in "biuf" else array


def _as_column(column: Any, name: Any) -> NDArray[Any]:
    """Return the values of a column, of shape (n_samples, 1)."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return _as_numbers(np.asarray(column))[:, None]
    values = to_numpy(column)
    is_category = "categor" in str(column.dtype).lower() or str(column.dtype).startswith("Enum")
    if values.dtype.kind in "OUST" or is_category:
        read = read_column(column, name)
        if read.kind in ("category", "missing"):
            labels = ["nan" if label is None else label for label in read.labels]
            return np.array(labels, dtype=object)[read.values][:, None]
        values = read.values
    if values.dtype.kind == "m":
        values = values / np.timedelta64(1, "s")
    elif values.dtype.kind == "M":
        return values.astype("datetime64[us]").astype(np.int64)[:, None]
    return values.astype(np.float64)[:, None]


def _as_numbers(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype in _KEPT:
        return values
    if values.dtype.kind == "f":
        return values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
    return values.astype(np.float64 if values.dtype == np.uint64 else np.int64)

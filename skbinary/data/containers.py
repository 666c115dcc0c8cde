"""Check the containers that users pass: arrays, data frames, sparse matrices and tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.utils._missing import is_pandas_na
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from skbinary.data.sources import is_source
from skbinary.runtime.threads import one_torch_thread

_COMPRESSED = ("csr", "csc", "bsr")
_CHECKED_FORMATS = (*_COMPRESSED, "coo", "dia")


def check_container(values: Any, name: str) -> Any:
    """Check that `values` are in a container that holds numbers or labels in memory.

    Parameters
    ----------
    values : object
        Rows, labels or weights as the user passed them.
    name : str
        Their name in messages.

    Returns
    -------
    object
        `values`. A tensor in CPU memory becomes an array, and the indices of a sparse matrix have
        been checked.
    """
    if isinstance(values, Tensor):
        return _check_tensor(values, name)
    if sp.issparse(values):
        return check_sparse(values, name)
    advice = None
    if isinstance(values, DataLoader | Dataset):
        advice = "Pass the rows and their labels as arrays, and set batch_size"
    elif type(values).__name__ == "LazyFrame":
        advice = "Call collect() on it, or pass it to fit with the name of the label column as y"
    elif isinstance(values, Mapping):
        advice = "Make a data frame of it"
    elif isinstance(values, Iterator):
        advice = "Make a list of it"
    elif name.startswith("X") and is_source(values) and not hasattr(values, "__array__"):
        advice = (
            "Tables are read in parts only by fit, with the name of the label column as y, and by "
            "predictions and scores of a model that was fitted to named columns"
        )
    elif isinstance(values, str | bytes):
        advice = "Pass one value for each row"
    if advice is None:
        return values
    kind = type(values)
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    raise ValueError(
        f"{name} must be an array, a data frame or a tensor, got {article} {kind.__name__}. "
        f"{advice}."
    )


def as_array(values: Any, name: str) -> Any:
    """Check labels, weights or groups like ``check_container``, with tensors moved to the CPU."""
    if isinstance(values, Tensor):
        values = values.cpu()
    return check_container(values, name)


def _check_tensor(values: Tensor, name: str) -> Any:
    kind = advice = None
    if values.is_nested:
        kind, advice = "a nested tensor", "Pad the rows to one length"
    elif values.layout is not torch.strided:
        kind = f"a tensor of layout {values.layout}"
        advice = "Call to_dense() on it, or convert it to a scipy.sparse matrix if it holds rows"
    elif values.is_quantized:
        kind, advice = "a quantized tensor", "Call dequantize() on it"
    elif values.is_meta:
        kind, advice = "a tensor on the meta device", "Pass a tensor that stores its values"
    if kind is not None:
        raise ValueError(f"{name} must be a dense tensor of numbers, got {kind}. {advice}.")
    values = values.detach()
    if values.is_floating_point() and values.dtype not in (torch.float32, torch.float64):
        with one_torch_thread():
            values = values.float()  # NumPy does not have all of the smaller types, as bfloat16
    if values.device.type != "cpu":
        return values
    return values.resolve_conj().resolve_neg().numpy()


def check_sparse(X: Any, name: str = "X") -> Any:
    """Check that the index arrays of a sparse matrix fit its shape.

    scipy checks the lengths of the arrays only when a matrix is built, and never the indices, so a
    conversion or a product could read memory outside of the arrays.

    Returns
    -------
    sparse matrix
        `X`, or a CSR matrix if the format of `X` is made of Python lists.
    """
    if X.format == "lil" and any(map(_differ_in_length, X.rows, X.data)):
        defect: str | None = "lists of columns and of values that differ in length"
    else:
        X = X if X.format in _CHECKED_FORMATS else X.tocsr()
        defect = _find_defect(X)
    if defect is None:
        return X
    raise ValueError(
        f"{name} must be a sparse matrix whose index arrays fit its shape, got {defect}. "
        "Rebuild the matrix from rows, columns and values with scipy.sparse.coo_array."
    )


def _differ_in_length(columns: list[Any], values: list[Any]) -> bool:
    return len(columns) != len(values)


def _find_defect(X: Any) -> str | None:
    """Describe what is wrong with the index arrays of a sparse matrix, or return None."""
    if X.format == "dia":
        fits = X.data.ndim == 2 and X.offsets.shape == X.data.shape[:1]
        return None if fits else f"{len(X.offsets)} offsets for data of shape {X.data.shape}"
    if X.format == "coo":
        if not len(X.row) == len(X.col) == len(X.data):
            return f"{len(X.data)} values with {len(X.row)} row and {len(X.col)} column indices"
        return _out_of_bounds(X.row, X.shape[0], "row") or _out_of_bounds(
            X.col, X.shape[1], "column"
        )
    block = X.blocksize if X.format == "bsr" else (1, 1)
    axes = [("row", X.shape[0] // block[0]), ("column", X.shape[1] // block[1])]
    (_, n_compressed), (axis, size) = axes[::-1] if X.format == "csc" else axes
    indptr, indices = X.indptr, X.indices
    if indptr.shape != (n_compressed + 1,):
        return f"an indptr of shape {indptr.shape}, where ({n_compressed + 1},) is needed,"
    if len(X.data) != len(indices):
        return f"{len(X.data)} values with {len(indices)} indices"
    if indptr.dtype.kind not in "iu":
        return f"an indptr of {indptr.dtype}"
    if indptr[0] != 0:
        return f"an indptr that starts at {indptr[0]}"
    if np.any(indptr[1:] < indptr[:-1]):
        return "an indptr that decreases"
    if indptr[-1] > len(indices):
        return f"an indptr that ends at {indptr[-1]} with {len(indices)} indices"
    return _out_of_bounds(indices[: indptr[-1]], size, axis)


def _out_of_bounds(index: NDArray[Any], size: int, axis: str) -> str | None:
    """Describe an index that is out of bounds, or return None if all are within."""
    if index.dtype.kind not in "iu":
        return f"{axis} indices of {index.dtype}"
    if len(index) == 0:
        return None
    smallest, largest = int(index.min()), int(index.max())
    if smallest >= 0 and largest < size:
        return None
    return f"the {axis} index {smallest if smallest < 0 else largest} with {size} {axis}s"


def is_single_precision(X: Any) -> bool:
    """Check whether values are stored in float32 or less, and so are computed in float32.

    Parameters
    ----------
    X : ndarray, sparse matrix, data frame or tensor
    """
    if isinstance(X, np.ndarray):
        return X.dtype.kind == "f" and X.dtype.itemsize <= 4
    if isinstance(X, Tensor):
        return X.dtype == torch.float32
    dtypes = getattr(X, "dtypes", None)
    if type(X).__module__.startswith("polars"):
        dtype = X.to_numpy().dtype
    elif dtypes is not None and hasattr(X, "columns"):
        column_types = set(dtypes)
        if not column_types or not all(isinstance(each, np.dtype) for each in column_types):
            return False
        dtype = np.result_type(*column_types)
    else:
        dtype = getattr(X, "dtype", None)
    return isinstance(dtype, np.dtype) and dtype.kind == "f" and dtype.itemsize <= 4


def first_missing(values: NDArray[np.generic]) -> int | None:
    """Return the position of the first missing value, or None if there is none."""
    if values.dtype.kind in "mM":
        missing = np.flatnonzero(np.isnat(values))
        return int(missing[0]) if len(missing) else None
    if values.dtype.kind != "O":
        return None
    return next((i for i, each in enumerate(values.flat) if _is_missing(each)), None)


def _is_missing(value: Any) -> bool:
    if value is None or is_pandas_na(value):
        return True
    try:
        return bool(value != value)  # as NaN and NaT do
    except (TypeError, ValueError):
        return False

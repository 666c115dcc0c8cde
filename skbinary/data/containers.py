"""Check that the containers that users pass hold numbers and can be read safely."""

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

from skbinary.runtime.threads import one_torch_thread

_COMPRESSED = ("csr", "csc", "bsr")
_READ_SAFELY = (*_COMPRESSED, "coo", "dia")


def check_container(values: Any, name: str) -> Any:
    """Check that `values` are numbers or labels in memory, in a container that can be read.

    Parameters
    ----------
    values : object
        Rows, labels or weights as a user has passed them.
    name : str
        Their name in messages.

    Returns
    -------
    object
        `values`. A tensor in CPU memory becomes an array, and a sparse matrix has a format whose
        indices have been checked.
    """
    if isinstance(values, Tensor):
        return _check_tensor(values, name)
    if sp.issparse(values):
        return check_sparse(values, name)
    advice = None
    if isinstance(values, DataLoader | Dataset):
        advice = "Pass the rows and their labels as arrays: batches are made by batch_size"
    elif type(values).__name__ == "LazyFrame":
        advice = "Call collect() on it"
    elif isinstance(values, Mapping):
        advice = "Make a data frame of it"
    elif isinstance(values, Iterator):
        advice = "Make a list of it"
    elif isinstance(values, str | bytes):
        advice = "Pass one value for each row"
    if advice is None:
        return values
    kind = type(values)
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    raise ValueError(
        f"{name} must be an array, a data frame or a tensor, got {article} {kind.__name__}"
        f". {advice}."
    )


def _check_tensor(values: Tensor, name: str) -> Any:
    what = advice = None
    if values.is_nested:
        what, advice = "a nested tensor", "Pad the rows to one length"
    elif values.layout is not torch.strided:
        what = f"a tensor of layout {values.layout}"
        advice = "Call to_dense() on it, or make a scipy.sparse matrix of it if it holds the rows"
    elif values.is_quantized:
        what, advice = "a quantized tensor", "Call dequantize() on it"
    elif values.is_meta:
        what, advice = "a tensor on the device meta", "Make it on one that stores numbers"
    if what is not None:
        raise ValueError(f"{name} must be a dense tensor of numbers, got {what}. {advice}.")
    values = values.detach()
    if values.is_floating_point() and values.dtype not in (torch.float32, torch.float64):
        with one_torch_thread():
            values = values.float()  # NumPy does not have all of the smaller types
    if values.device.type != "cpu":
        return values
    return values.resolve_conj().resolve_neg().numpy()


def check_sparse(X: Any, name: str = "X") -> Any:
    """Check that the index arrays of a sparse matrix fit its shape.

    scipy checks the lengths of the arrays only when a matrix is made, and never its indices, so a
    conversion or a product may read memory outside of the arrays.

    Returns
    -------
    sparse matrix
        `X`, or a CSR matrix if the format of `X` is made of Python lists.
    """
    if X.format == "lil" and any(map(_differ, X.rows, X.data)):
        flaw: str | None = "lists of columns and of values that differ in length"
    else:
        X = X if X.format in _READ_SAFELY else X.tocsr()
        flaw = _flaw(X)
    if flaw is None:
        return X
    raise ValueError(
        f"{name} must be a sparse matrix whose index arrays fit its shape, got {flaw}. "
        "Build the matrix anew from rows, columns and values, as scipy.sparse.coo_array does."
    )


def _differ(columns: list[Any], values: list[Any]) -> bool:
    return len(columns) != len(values)


def _flaw(X: Any) -> str | None:
    """Describe what is wrong with the arrays of a sparse matrix, or return None."""
    if X.format == "dia":
        fits = X.data.ndim == 2 and X.offsets.shape == X.data.shape[:1]
        return None if fits else f"{len(X.offsets)} offsets for data of shape {X.data.shape}"
    if X.format == "coo":
        if not len(X.row) == len(X.col) == len(X.data):
            return f"{len(X.data)} values with {len(X.row)} row and {len(X.col)} column indices"
        return _outside(X.row, X.shape[0], "row") or _outside(X.col, X.shape[1], "column")
    block = X.blocksize if X.format == "bsr" else (1, 1)
    axes = [("row", X.shape[0] // block[0]), ("column", X.shape[1] // block[1])]
    (_, n_runs), (axis, size) = axes[::-1] if X.format == "csc" else axes
    indptr, indices = X.indptr, X.indices
    if indptr.shape != (n_runs + 1,):
        return f"an indptr of shape {indptr.shape}, where ({n_runs + 1},) is needed,"
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
    return _outside(indices[: indptr[-1]], size, axis)


def _outside(index: NDArray[Any], size: int, axis: str) -> str | None:
    """Describe an index that is out of bounds, or return None if there is none."""
    if index.dtype.kind not in "iu":
        return f"{axis} indices of {index.dtype}"
    if len(index) == 0:
        return None
    least, most = int(index.min()), int(index.max())
    if least >= 0 and most < size:
        return None
    return f"the {axis} index {least if least < 0 else most} with {size} {axis}s"


def is_single(X: Any) -> bool:
    """Tell whether numbers are stored in float32 or less, and so are computed in float32.

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
        each = set(dtypes)
        if not each or not all(isinstance(one, np.dtype) for one in each):
            return False
        dtype = np.result_type(*each)
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

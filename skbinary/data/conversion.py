"""Convert checked rows and arrays to tensors on a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from skbinary.data.rows import DenseRows, MappedRows, Rows, SparseRows

_CPU = torch.device("cpu")


def as_rows(X: Any, device: torch.device, dtype: torch.dtype, *, convert: bool) -> Rows:
    """Put checked rows on a device.

    Parameters
    ----------
    X : ndarray, numpy.memmap, CSR matrix or tensor of shape (n_samples, n_features)
        Rows as ``check_rows`` returns them.
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
    is_ready = values.dtype == dtype and values.device == device and values.is_contiguous()
    if convert and not is_ready:
        # Converted and made contiguous in one operation, so that there is only one copy.
        values = torch.empty(values.shape, dtype=dtype, device=device).copy_(values)
    return DenseRows(values if values.device == device else values.to(device), dtype)


def move_to_device(X: Any, device: torch.device) -> Any:
    """Move rows that several models score to a GPU once. Other rows are returned unchanged."""
    is_plain = type(X) is np.ndarray and X.dtype in (np.float32, np.float64)
    return as_tensor(X, device) if is_plain and device.type == "cuda" else X


def as_tensor(array: NDArray[Any], device: torch.device = _CPU) -> Tensor:
    """Return a tensor that shares the memory of an array, or a copy where torch cannot share it."""
    tensor = torch.from_numpy(_writable(array))
    return tensor if device == _CPU else tensor.to(device)


def _writable(array: NDArray[Any]) -> NDArray[Any]:
    # torch supports neither read-only memory nor negative strides.
    if array.flags.writeable and all(step >= 0 for step in array.strides):
        return array
    return np.array(array, order="C")

"""Dense rows with compressed columns, for columns that mostly hold one value.

One-hot columns are of this kind, also after scaling. The most common value of a column is its fill
value. In ``x = fill_value + (x - fill_value)`` the first term is the same for all rows and the
second is sparse, so the product of a batch with the weights is that of a single row plus that of a
sparse matrix.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from skbinary.data.rows import DenseRows
from skbinary.data.sparse import DenseMatrices, SparseMatrix
from skbinary.runtime.chunks import row_chunks, rows_per_fetch

# At most this fraction of a column may differ from the fill value: a product with a sparse value
# takes four times as long as with a dense one, and the values are sorted for every batch.
_MAX_SPARSE_FRACTION = 1 / 6
_SPARSE_COST = 4
# The number of products that a step must save to make up for the additional calls, and the layer
# width from which sums of rows are fast.
_MIN_SAVED_PRODUCTS = 1_250_000
_MIN_WIDTH = 8
# Number of rows from which fill values are estimated.
_SAMPLE_ROWS = 255


class Columns(NamedTuple):
    """Which columns are compressed, and with which fill values.

    Parameters
    ----------
    dense : Tensor of shape (n_dense,)
        Positions of the columns that are not compressed.
    fill_values : Tensor of shape (n_features, 1)
        The fill value of each column. Zero for dense columns.
    """

    dense: Tensor
    fill_values: Tensor


class CompressedBatch:
    """A batch of rows that all models share, or a batch for each model.

    Parameters
    ----------
    columns : Columns
    dense : Tensor of shape (n_batches, n_rows, n_dense)
        The dense columns. There is one batch for all models, or one for each.
    by_row : SparseMatrix
        Differences from the fill values, row by row.
    by_column : SparseMatrix
        The same, column by column.
    """

    def __init__(
        self, columns: Columns, dense: Tensor, by_row: SparseMatrix, by_column: SparseMatrix
    ):
        self._columns = columns
        self._dense = dense
        self._by_row = by_row
        self._by_column = by_column
        self._has_dense = len(columns.dense) > 0

    def split(self, n_rows: int) -> list[CompressedBatch]:
        """Split a batch that all models share into smaller ones."""
        offsets, indices, values, _ = self._by_row
        indptr = np.append(offsets.numpy(), len(indices))
        shape = (self._dense.shape[1], len(self._columns.fill_values))
        sparse = sp.csr_array((values.numpy(), indices.numpy(), indptr), shape=shape)
        return _split(self._columns, self._dense, sparse, n_rows)

    def affine_into(self, bias: Tensor | None, weights: Tensor, out: Tensor) -> None:
        """Multiply by the weights of a layer of one or several models, and add the bias."""
        if weights.ndim == 2:
            weights, out = weights[None], out[None]
        fill_row = self._columns.fill_values.mT.expand(weights.shape[0], -1, -1)
        if bias is None:
            shift = torch.bmm(fill_row, weights)
        else:
            shift = torch.baddbmm(bias.view(-1, 1, bias.shape[-1]), fill_row, weights)
        matrices = DenseMatrices.of(weights)
        product = self._by_row.matmul(matrices)
        if self._has_dense:
            dense = self._dense.expand(weights.shape[0], -1, -1)
            product.baddbmm_(dense, matrices.select(self._columns.dense))
        torch.add(product, shift, out=out)

    def transposed_matmul_into(self, residual: Tensor, out: Tensor) -> None:
        """Multiply the transposed rows by the errors of a layer of one or several models."""
        if residual.ndim == 2:
            residual, out = residual[None], out[None]
        product = self._by_column.matmul(DenseMatrices.of(residual))
        total = torch.sum(residual, dim=1, keepdim=True)
        torch.addcmul(product, self._columns.fill_values, total, out=out)
        if self._has_dense:
            dense = self._dense.expand(residual.shape[0], -1, -1)
            out.index_copy_(1, self._columns.dense, torch.bmm(dense.mT, residual))


@dataclass(frozen=True)
class FetchedCompressedRows:
    """Rows of several mini-batches that were fetched at once.

    Parameters
    ----------
    columns : Columns
    dense : Tensor of shape (n_rows, n_dense)
        The dense columns.
    sparse : csr_array of shape (n_rows, n_features)
        Differences from the fill values.
    """

    columns: Columns
    dense: Tensor
    sparse: sp.csr_array

    def split(self, n_rows: int) -> list[CompressedBatch]:
        """Split the rows into batches."""
        return _split(self.columns, self.dense[None], self.sparse, n_rows)


def _split(
    columns: Columns, dense: Tensor, sparse: sp.csr_array, n_rows: int
) -> list[CompressedBatch]:
    """Split rows into batches, and sort the sparse values of each batch by columns.

    Parameters
    ----------
    columns : Columns
    dense : Tensor of shape (n_models, n_fetched, n_dense)
        The dense columns; n_models is one if all models share the batches.
    sparse : csr_array of shape (n_models * n_fetched, n_features)
        Differences from the fill values: first the rows of the first batch of each model, then
        those of the second one, and so on.
    n_rows : int
        Number of rows of a batch.
    """
    n_models, n_features = len(dense), sparse.shape[1]
    dense_batches = torch.split(dense, n_rows, dim=1)
    grid = (len(dense_batches), n_models)
    # For each model of each batch: its number of rows, its first row, its number of sparse values.
    sizes = np.repeat([batch.shape[1] for batch in dense_batches], n_models)
    sizes = sizes.astype(sparse.indices.dtype)
    first_rows = np.cumsum(sizes, dtype=sizes.dtype) - sizes
    n_values = np.diff(np.append(sparse.indptr[first_rows], sparse.indptr[-1]))
    # All batches are sorted in one call: each model of each batch gets columns of its own.
    first_columns = np.arange(len(sizes), dtype=sizes.dtype) * n_features
    separate = (sparse.data, sparse.indices + np.repeat(first_columns, n_values), sparse.indptr)
    shape = (sparse.shape[0], len(sizes) * n_features)
    by_column = sp.csr_array(separate, shape=shape).tocsc()
    rows_in_batch = by_column.indices - np.repeat(first_rows, n_values)
    models = np.tile(np.arange(n_models, dtype=sizes.dtype), len(dense_batches))
    matrix_index = np.repeat(models, n_values) if n_models > 1 else None
    values_per_batch = n_values.reshape(grid).sum(axis=1)
    rows_per_batch = sizes.reshape(grid).sum(axis=1)
    columns_per_batch = np.full(len(dense_batches), n_models * n_features)
    matrices = zip(
        _split_matrix(sparse, sparse.indices, matrix_index, rows_per_batch, values_per_batch),
        _split_matrix(by_column, rows_in_batch, matrix_index, columns_per_batch, values_per_batch),
        strict=True,
    )
    return [
        CompressedBatch(columns, batch, *both)
        for batch, both in zip(dense_batches, matrices, strict=True)
    ]


def _split_matrix(
    matrix: Any,
    indices: NDArray[Any],
    matrix_index: NDArray[Any] | None,
    rows_per_batch: NDArray[Any],
    values_per_batch: NDArray[Any],
) -> Iterable[SparseMatrix]:
    """Split a compressed matrix into one for each batch. Its indices are passed separately."""
    first_values = np.repeat(np.cumsum(values_per_batch) - values_per_batch, rows_per_batch)
    offsets = torch.from_numpy(matrix.indptr[:-1] - first_values.astype(matrix.indptr.dtype))
    arrays = [indices, matrix.data]
    if matrix_index is not None:
        arrays.append(matrix_index)
    parts = [torch.split(torch.from_numpy(each), values_per_batch.tolist()) for each in arrays]
    return map(SparseMatrix, torch.split(offsets, rows_per_batch.tolist()), *parts)


@dataclass(frozen=True)
class CompressedRows:
    """Rows with compressed columns, to fetch batches from.

    Parameters
    ----------
    columns : Columns
    dense : Tensor of shape (n_samples, n_dense)
        The dense columns.
    sparse : csr_array of shape (n_samples, n_features)
        Differences from the fill values.
    index : Tensor or None, default=None
        The selected rows. None for all.
    """

    columns: Columns
    dense: Tensor
    sparse: sp.csr_array
    index: Tensor | None = None

    def view(self, index: Tensor | None) -> CompressedRows:
        """Select rows of the whole table, or all rows for None."""
        return replace(self, index=index)

    def batch(self, index: Tensor) -> FetchedCompressedRows:
        """Fetch some of the rows."""
        positions = self.positions(index)
        dense = torch.index_select(self.dense, 0, positions)
        return FetchedCompressedRows(self.columns, dense, self.sparse[positions.numpy()])

    def fetch_size(self, batch_size: int) -> int:
        """Return how many rows are fetched at once."""
        return rows_per_fetch(batch_size, self._values_per_row, self.dense.device)

    def fetch_size_per_model(self, batch_size: int, n_models: int) -> int:
        """Return how many rows of each model are fetched at once."""
        return rows_per_fetch(batch_size, n_models * self._values_per_row, self.dense.device)

    def has_same_table(self, other: object) -> bool:
        """Check whether both are rows of the same table."""
        return isinstance(other, CompressedRows) and self.sparse is other.sparse

    def batches_per_model(self, positions: Tensor, batch_size: int) -> list[CompressedBatch]:
        """Return batches of the whole table, at positions of shape (n_models, n_rows)."""
        dense = torch.index_select(self.dense, 0, positions.flatten())
        order = [batch.flatten() for batch in torch.split(positions, batch_size, dim=1)]
        sparse = self.sparse[torch.cat(order).numpy()]
        return _split(self.columns, dense.view(*positions.shape, -1), sparse, batch_size)

    def positions(self, index: Tensor) -> Tensor:
        """Return the positions of rows in the whole table."""
        return index if self.index is None else self.index[index]

    def pays_off(self, width: int, batch_size: int) -> bool:
        """Check whether compression saves time for a first layer of this width.

        The decision does not depend on the number of models, so that a model in a batch is trained
        on the same rows as a single model.
        """
        n_compressed = self.sparse.shape[1] - self.dense.shape[1]
        n_saved = n_compressed - _SPARSE_COST * self.sparse.nnz / self.sparse.shape[0]
        return may_pay_off(n_saved, width, batch_size)

    @property
    def _values_per_row(self) -> int:
        return self.dense.shape[1] + 2 * self.sparse.nnz // self.sparse.shape[0]


def may_pay_off(n_columns: float, width: int, batch_size: int) -> bool:
    """Check whether saving the products of so many columns makes up for the additional calls."""
    return width >= _MIN_WIDTH and n_columns * width * batch_size >= _MIN_SAVED_PRODUCTS


def compress(rows: DenseRows) -> CompressedRows | None:
    """Compress the columns that mostly hold one value.

    Parameters
    ----------
    rows : DenseRows

    Returns
    -------
    CompressedRows or None
        The whole table to which the rows belong. None if it is not of float32 in CPU memory, or
        has no such columns.
    """
    values = rows.values
    is_float32 = rows.dtype == values.dtype == torch.float32
    if not is_float32 or values.device.type != "cpu" or len(values) == 0:
        return None
    n_rows, n_features = values.shape
    sample = values[:: -(-n_rows // _SAMPLE_ROWS)]
    fill_values = sample.median(dim=0).values
    is_sparse = (sample != fill_values).float().mean(dim=0) <= 2 * _MAX_SPARSE_FRACTION
    positions, columns = _find_differences(values, fill_values, is_sparse)
    n_different = torch.from_numpy(np.bincount(columns, minlength=n_features))
    is_sparse &= n_different <= _MAX_SPARSE_FRACTION * n_rows
    if not bool(is_sparse.any()):
        return None
    is_used = is_sparse.numpy()[columns]
    positions, columns = positions[is_used], columns[is_used]
    fill_values = torch.where(is_sparse, fill_values, 0)
    differences = values.numpy().reshape(-1)[positions] - fill_values.numpy()[columns]
    indptr = np.searchsorted(positions, np.arange(n_rows + 1) * n_features)
    sparse = sp.csr_array((differences, columns, indptr), shape=(n_rows, n_features))
    dense_columns = torch.nonzero(~is_sparse)[:, 0]
    dense = values[:, dense_columns].contiguous()
    return CompressedRows(Columns(dense_columns, fill_values[:, None]), dense, sparse)


def _find_differences(
    values: Tensor, fill_values: Tensor, is_sparse: Tensor
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Find the values of sparse columns that differ from the fill value.

    Returns
    -------
    positions : ndarray of int of shape (n_different,)
        Positions in the flattened table, ascending.
    columns : ndarray of int of shape (n_different,)
    """
    n_rows, n_features = values.shape
    if not bool(is_sparse.any()):
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.int32)
    found = []
    for chunk in row_chunks(n_rows, n_features, values.device):
        differs = (values[chunk] != fill_values).logical_and_(is_sparse)
        found.append(np.flatnonzero(differs) + chunk.start * n_features)
    positions = np.concatenate(found)
    return positions, (positions % n_features).astype(np.int32)

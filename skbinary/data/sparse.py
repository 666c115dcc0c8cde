"""Products of sparse matrices with batches of dense matrices, as sums of rows."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class DenseMatrices(NamedTuple):
    """Dense matrices of one shape, one below the other.

    Parameters
    ----------
    rows : Tensor of shape (n_all_rows, n_columns)
    n_matrices : int
        Number of matrices.
    stride : int
        Number of rows from the beginning of a matrix to the beginning of the next.
    """

    rows: Tensor
    n_matrices: int
    stride: int

    @classmethod
    def of(cls, matrices: Tensor) -> DenseMatrices:
        """View a tensor of shape (n_matrices, n_rows, n_columns) so, or copy it if need be."""
        n_matrices, n_rows, n_columns = matrices.shape
        matrix_stride, *strides = matrices.stride()
        if strides != [n_columns, 1] or matrix_stride % n_columns:
            return cls(matrices.reshape(-1, n_columns), n_matrices, n_rows)
        stride = matrix_stride // n_columns
        n_all_rows = (n_matrices - 1) * stride + n_rows
        rows = matrices.as_strided((n_all_rows, n_columns), (n_columns, 1))
        return cls(rows, n_matrices, stride)

    def select(self, index: Tensor) -> Tensor:
        """Copy some rows of each matrix, to shape (n_matrices, n_selected, n_columns)."""
        positions = (_multiples(self.n_matrices, self.stride, index.dtype) + index).view(-1)
        return torch.index_select(self.rows, 0, positions).view(self.n_matrices, len(index), -1)


class SparseMatrix(NamedTuple):
    """A sparse matrix to multiply dense matrices by, or a sparse matrix for each of them.

    The format is that of ``torch.nn.functional.embedding_bag``: the product of a row is a weighted
    sum of rows of the dense matrix.

    Parameters
    ----------
    offsets : Tensor of shape (n_rows,) or (n_matrices * n_rows,)
        Position of the first value of each row.
    indices : Tensor of shape (n_values,)
        Column of each value. Integers of the type of `offsets`.
    values : Tensor of shape (n_values,)
    matrix_index : Tensor of shape (n_values,) or None, default=None
        Which dense matrix each value is multiplied by, if there is a sparse matrix for each of
        them. None if one sparse matrix is multiplied by all.
    """

    offsets: Tensor
    indices: Tensor
    values: Tensor
    matrix_index: Tensor | None = None

    def matmul(self, matrices: DenseMatrices) -> Tensor:
        """Multiply by dense matrices. The terms of each sum are added in their order.

        Parameters
        ----------
        matrices : DenseMatrices

        Returns
        -------
        Tensor of shape (n_matrices, n_rows, n_columns)
        """
        if matrices.n_matrices == 1:
            return self._matmul(matrices.rows)[None]
        product = self._block_diagonal(matrices)._matmul(matrices.rows)
        return product.view(matrices.n_matrices, -1, product.shape[1])

    def _matmul(self, matrix: Tensor) -> Tensor:
        # What torch.nn.functional.embedding_bag calls, without its checks, which take as long.
        product: Tensor = torch.embedding_bag(
            matrix, self.indices, self.offsets, per_sample_weights=self.values
        )[0]
        return product

    def _block_diagonal(self, matrices: DenseMatrices) -> SparseMatrix:
        """Return the matrix that multiplies all dense matrices as one."""
        n, stride = matrices.n_matrices, matrices.stride
        if self.matrix_index is not None:
            indices = self.indices + self.matrix_index * stride
            return SparseMatrix(self.offsets, indices, self.values)
        offsets = self.offsets + _multiples(n, 1, self.offsets.dtype) * len(self.indices)
        indices = self.indices + _multiples(n, stride, self.indices.dtype)
        return SparseMatrix(offsets.view(-1), indices.view(-1), self.values.repeat(n))


@lru_cache(maxsize=64)
def _multiples(n: int, step: int, dtype: torch.dtype) -> Tensor:
    """Return the first n multiples of a step, of shape (n, 1)."""
    return torch.arange(n, dtype=dtype).mul_(step)[:, None]

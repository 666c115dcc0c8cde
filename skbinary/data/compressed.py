"""Dense rows whose columns that mostly hold one value are compressed.

Tables of one-hot columns are made of such columns, and they stay so when they are scaled. With
``x = usual + (x - usual)``, the first term is one row for all, and the second is mostly zero: a
product with many rows is one with a single row, and one with the few numbers that are unusual.
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
from skbinary.data.sparse import SparseMatrix, Tables
from skbinary.runtime.chunks import row_chunks, rows_per_fetch

# At most this share of a column's rows may be unusual: each such number is multiplied in four
# times the time that it takes among others, and is put in order for every batch.
_MOST_UNUSUAL = 1 / 6
_TIMES_AS_LONG = 4
# What a step must be spared to be worth the calls, in products, and the width from which sums of
# rows are quick.
_FEWEST_PRODUCTS = 1_250_000
_LEAST_WIDTH = 8
# Rows by which the usual values are guessed.
_SAMPLE = 255


class Columns(NamedTuple):
    """What is compressed, and what is usual there.

    Parameters
    ----------
    kept : Tensor of shape (n_kept,)
        Positions of the columns that are not compressed.
    usual : Tensor of shape (n_features, 1)
        The usual value of each column. Zero for those that are kept.
    """

    kept: Tensor
    usual: Tensor

    @classmethod
    def of(cls, is_kept: Tensor, usual: Tensor) -> Columns:
        """Make them of what each column is, and what is usual in it."""
        return cls(torch.nonzero(is_kept)[:, 0], usual[:, None])


class CompressedBatch:
    """Rows that all models of a stack see, or as many rows for each of them.

    Parameters
    ----------
    columns : Columns
    dense : Tensor of shape (n_groups, n_rows, n_kept)
        What is not compressed. With one group, all models see the same rows.
    by_row : SparseMatrix
        For each row of each group, the columns that are not as usual, and by how much.
    by_column : SparseMatrix
        The same, for each column of each group.
    keeps : bool
        Whether there are columns that are not compressed.
    """

    def __init__(
        self,
        columns: Columns,
        dense: Tensor,
        by_row: SparseMatrix,
        by_column: SparseMatrix,
        *,
        keeps: bool,
    ):
        self._columns = columns
        self._dense = dense
        self._by_row = by_row
        self._by_column = by_column
        self._keeps = keeps

    def split(self, n_rows: int) -> list[CompressedBatch]:
        """Cut rows that all models see into smaller batches."""
        own = self._by_row
        starts = np.append(own.starts.numpy(), len(own.members))
        stored = (own.factors.numpy(), own.members.numpy(), starts)
        shape = (self._dense.shape[1], len(self._columns.usual))
        return _batches(self._columns, self._dense, sp.csr_array(stored, shape=shape), n_rows)

    def affine_into(self, bias: Tensor | None, weights: Tensor, out: Tensor) -> None:
        """Multiply with the weights of a layer, of one model or of several."""
        if weights.ndim == 2:
            weights, out = weights[None], out[None]
        row = self._columns.usual.mT.expand(weights.shape[0], -1, -1)
        if bias is None:
            shift = torch.bmm(row, weights)
        else:
            shift = torch.baddbmm(bias.view(-1, 1, bias.shape[-1]), row, weights)
        tables = Tables.of(weights)
        sums = self._by_row.sums(tables)
        if self._keeps:
            dense = self._dense.expand(weights.shape[0], -1, -1)
            sums.baddbmm_(dense, tables.select(self._columns.kept))
        torch.add(sums, shift, out=out)

    def transposed_matmul_into(self, residual: Tensor, out: Tensor) -> None:
        """Multiply each column with the errors of a layer, of one model or of several."""
        if residual.ndim == 2:
            residual, out = residual[None], out[None]
        sums = self._by_column.sums(Tables.of(residual))
        total = torch.sum(residual, dim=1, keepdim=True)
        torch.addcmul(sums, self._columns.usual, total, out=out)
        if self._keeps:
            dense = self._dense.expand(residual.shape[0], -1, -1)
            out.index_copy_(1, self._columns.kept, torch.bmm(dense.mT, residual))


@dataclass(frozen=True)
class FetchedCompressedRows:
    """Rows that were fetched together, to be split into batches.

    Parameters
    ----------
    columns : Columns
    dense : Tensor of shape (n_rows, n_kept)
    unusual : csr_array of shape (n_rows, n_features)
    """

    columns: Columns
    dense: Tensor
    unusual: sp.csr_array

    def split(self, n_rows: int) -> list[CompressedBatch]:
        """Cut the rows into batches."""
        return _batches(self.columns, self.dense[None], self.unusual, n_rows)


def _batches(
    columns: Columns, dense: Tensor, unusual: sp.csr_array, n_rows: int
) -> list[CompressedBatch]:
    """Cut rows into batches, and put what is unusual in each of them in order by columns.

    Parameters
    ----------
    columns : Columns
    dense : Tensor of shape (n_groups, n_fetched, n_kept)
    unusual : csr_array of shape (n_groups * n_fetched, n_features)
        The rows of the first batch of each group, then those of the second one, and so on.
    n_rows : int
        Rows of a batch.
    """
    n_groups, n_features = len(dense), unusual.shape[1]
    parts = torch.split(dense, n_rows, dim=1)
    grid = (len(parts), n_groups)
    # Of each group of each batch: its rows, its first row, and how much is stored of it.
    n_own = np.repeat([part.shape[1] for part in parts], n_groups).astype(unusual.indices.dtype)
    first = np.cumsum(n_own, dtype=n_own.dtype) - n_own
    n_stored = np.diff(np.append(unusual.indptr[first], unusual.indptr[-1]))
    # Put in order once for all batches: each group of each batch has columns of its own.
    place = np.arange(len(n_own), dtype=n_own.dtype) * n_features
    apart = (unusual.data, unusual.indices + np.repeat(place, n_stored), unusual.indptr)
    shape = (unusual.shape[0], len(n_own) * n_features)
    ordered = sp.csr_array(apart, shape=shape).tocsc()
    within = ordered.indices - np.repeat(first, n_stored)
    groups = np.tile(np.arange(n_groups, dtype=n_own.dtype), len(parts))
    tables = np.repeat(groups, n_stored) if n_groups > 1 else None
    n_terms = n_stored.reshape(grid).sum(axis=1)
    by_row = _cut(
        (unusual.indptr, unusual.indices, unusual.data),
        tables, n_own.reshape(grid).sum(axis=1), n_terms,
    )  # fmt: skip
    by_column = _cut(
        (ordered.indptr, within, ordered.data),
        tables, np.full(len(parts), n_groups * n_features), n_terms,
    )  # fmt: skip
    return [
        CompressedBatch(columns, *each, keeps=len(columns.kept) > 0)
        for each in zip(parts, by_row, by_column, strict=True)
    ]


def _cut(
    stored: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    tables: NDArray[Any] | None,
    n_bags: NDArray[Any],
    n_terms: NDArray[Any],
) -> Iterable[SparseMatrix]:
    """Cut sums into those of each batch, by the count of their sums and of their terms."""
    starts, members, factors = stored
    begins = np.repeat(np.cumsum(n_terms) - n_terms, n_bags)
    own_starts = torch.from_numpy(starts[:-1] - begins.astype(starts.dtype))
    of_terms = [members, factors] if tables is None else [members, factors, tables]
    pieces = [torch.split(torch.from_numpy(each), n_terms.tolist()) for each in of_terms]
    return map(SparseMatrix, torch.split(own_starts, n_bags.tolist()), *pieces)


@dataclass(frozen=True)
class CompressedRows:
    """Rows of a table, to fetch batches from.

    Parameters
    ----------
    columns : Columns
    dense : Tensor of shape (n_samples, n_kept)
        The columns that are not compressed.
    unusual : csr_array of shape (n_samples, n_features)
        By how much numbers differ from the usual ones.
    index : Tensor or None, default=None
        Which of the rows are there. None for all.
    """

    columns: Columns
    dense: Tensor
    unusual: sp.csr_array
    index: Tensor | None = None

    def view(self, index: Tensor | None) -> CompressedRows:
        """Cut out rows of the whole table. None for all."""
        return replace(self, index=index)

    def batch(self, index: Tensor) -> FetchedCompressedRows:
        """Fetch some of the rows."""
        where = self.positions(index)
        dense = torch.index_select(self.dense, 0, where)
        return FetchedCompressedRows(self.columns, dense, self.unusual[where.numpy()])

    def fetch_size(self, batch_size: int) -> int:
        """Tell how many rows are fetched at once."""
        return rows_per_fetch(batch_size, self._numbers_per_row, self.dense.device)

    def fetch_size_per_model(self, batch_size: int, n_models: int) -> int:
        """Tell how many rows of each model are fetched at once."""
        return rows_per_fetch(batch_size, n_models * self._numbers_per_row, self.dense.device)

    def has_same_table(self, other: object) -> bool:
        """Tell whether both are rows of one table."""
        return isinstance(other, CompressedRows) and self.unusual is other.unusual

    def batches_per_model(self, where: Tensor, batch_size: int) -> list[CompressedBatch]:
        """Give batches of the whole table, at positions of shape (n_models, n_rows)."""
        dense = torch.index_select(self.dense, 0, where.flatten()).view(*where.shape, -1)
        order = [part.flatten() for part in torch.split(where, batch_size, dim=1)]
        return _batches(self.columns, dense, self.unusual[torch.cat(order).numpy()], batch_size)

    def positions(self, index: Tensor) -> Tensor:
        """Give where rows lie in the whole table."""
        return index if self.index is None else self.index[index]

    def pays_off(self, width: int, batch_size: int) -> bool:
        """Tell whether a first layer of this width is worth what compression costs.

        It looks at one model, so that each model of a stack is trained as it is alone.
        """
        n_compressed = self.unusual.shape[1] - self.dense.shape[1]
        spared = n_compressed - _TIMES_AS_LONG * self.unusual.nnz / self.unusual.shape[0]
        return may_pay_off(spared, width, batch_size)

    @property
    def _numbers_per_row(self) -> int:
        return self.dense.shape[1] + 2 * self.unusual.nnz // self.unusual.shape[0]


def may_pay_off(n_columns: float, width: int, batch_size: int) -> bool:
    """Tell whether it pays to be spared so many columns."""
    return width >= _LEAST_WIDTH and n_columns * width * batch_size >= _FEWEST_PRODUCTS


def compress(rows: DenseRows) -> CompressedRows | None:
    """Compress the columns that mostly hold one value.

    Parameters
    ----------
    rows : DenseRows

    Returns
    -------
    CompressedRows or None
        The whole table in which the rows lie. None if it is not a table of float32 in the memory
        of the processor, or has no such columns.
    """
    values = rows.values
    single = rows.dtype == values.dtype == torch.float32
    if not single or values.device.type != "cpu" or len(values) == 0:
        return None
    n_rows, n_features = values.shape
    sample = values[:: -(-n_rows // _SAMPLE)]
    usual = sample.median(dim=0).values
    is_chosen = (sample != usual).float().mean(dim=0) <= 2 * _MOST_UNUSUAL
    where, columns = _unusual(values, usual, is_chosen)
    n_unusual = torch.from_numpy(np.bincount(columns, minlength=n_features))
    is_chosen &= n_unusual <= _MOST_UNUSUAL * n_rows
    if not bool(is_chosen.any()):
        return None
    counts = is_chosen.numpy()[columns]
    where, columns = where[counts], columns[counts]
    usual = torch.where(is_chosen, usual, 0)
    differences = values.numpy().reshape(-1)[where] - usual.numpy()[columns]
    starts = np.searchsorted(where, np.arange(n_rows + 1) * n_features)
    unusual = sp.csr_array((differences, columns, starts), shape=(n_rows, n_features))
    kinds = Columns.of(~is_chosen, usual)
    return CompressedRows(kinds, values[:, kinds.kept].contiguous(), unusual)


def _unusual(
    values: Tensor, usual: Tensor, is_chosen: Tensor
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Find the numbers of the chosen columns that are not as usual.

    Returns
    -------
    where : ndarray of int of shape (n_unusual,)
        Where they are in the table, row after row.
    columns : ndarray of int of shape (n_unusual,)
    """
    n_rows, n_features = values.shape
    if not bool(is_chosen.any()):
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.int32)
    found = [
        np.flatnonzero((values[chunk] != usual).logical_and_(is_chosen)) + chunk.start * n_features
        for chunk in row_chunks(n_rows, n_features, values.device)
    ]
    where = np.concatenate(found)
    return where, (where % n_features).astype(np.int32)

"""Weighted sums of rows of a table, which is what a product with a sparse matrix is made of."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class SparseMatrix(NamedTuple):
    """Weighted sums of rows of a table, or of several tables.

    Parameters
    ----------
    starts : Tensor of shape (n_bags,) or (n_tables * n_bags,)
        Where the terms of each sum begin.
    members : Tensor of shape (n_terms,)
        Which rows are summed. Integers of the type of `starts`.
    factors : Tensor of shape (n_terms,)
        What they are multiplied with.
    tables : Tensor of shape (n_terms,) or None, default=None
        Which tables the rows are of, if each has sums of its own. None where all have the same.
    """

    starts: Tensor
    members: Tensor
    factors: Tensor
    tables: Tensor | None = None

    def sums(self, tables: Tensor) -> Tensor:
        """Sum up rows, each sum in the order of its terms.

        Parameters
        ----------
        tables : Tensor of shape (n_tables, n_rows, n_columns)

        Returns
        -------
        Tensor of shape (n_tables, n_bags, n_columns)
        """
        n_tables, n_columns = _sizes(tables)
        if n_tables == 1:
            return self._of(tables[0])[None]
        table, distance = _as_one(tables, n_columns)
        return self._in_one(n_tables, distance)._of(table).view(n_tables, -1, n_columns)

    def _of(self, table: Tensor) -> Tensor:
        # What torch.nn.functional.embedding_bag calls, without its checks, which take as long.
        sums: Tensor = torch.embedding_bag(
            table, self.members, self.starts, per_sample_weights=self.factors
        )[0]
        return sums

    def _in_one(self, n_tables: int, distance: int) -> SparseMatrix:
        """Give the sums of all tables as sums of a table in which they lie one below the other."""
        if self.tables is not None:
            return SparseMatrix(self.starts, self.members + self.tables * distance, self.factors)
        starts = self.starts + _counted(n_tables, 1, self.starts.dtype) * self.members.shape[0]
        members = self.members + _counted(n_tables, distance, self.members.dtype)
        factors = self.factors.expand(n_tables, -1)
        return SparseMatrix(starts.view(-1), members.view(-1), factors.reshape(-1))


@lru_cache(maxsize=64)
def _counted(n: int, step: int, dtype: torch.dtype) -> Tensor:
    """Give the first multiples of a step, one below the other."""
    return torch.arange(n, dtype=dtype).mul_(step)[:, None]


def _sizes(tables: Tensor) -> tuple[int, int]:
    """Give the count of tables, and of their columns, as numbers."""
    # torch.jit does not list what it exports, and gives it no types.
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        # Where torch records a script, sizes are tensors. What it records lies row by row.
        return len(tables.unbind(0)), tables.stride(1)
    return tables.shape[0], tables.shape[2]


def _as_one(tables: Tensor, n_columns: int) -> tuple[Tensor, int]:
    """Give tables one below the other, and how many rows lie between their first rows.

    They are not copied where their memory is laid out so.
    """
    n_rows = tables.shape[1]
    gap, *within = tables.stride()
    if within != [n_columns, 1] or gap % n_columns:
        return tables.reshape(-1, n_columns), n_rows
    distance = gap // n_columns
    end = (tables.shape[0] - 1) * distance + n_rows
    return tables.as_strided((end, n_columns), (n_columns, 1)), distance

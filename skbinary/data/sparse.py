"""Weighted sums of rows of a table, which is what a product with a sparse matrix is made of."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class Tables(NamedTuple):
    """Tables of one shape, one below the other.

    Parameters
    ----------
    rows : Tensor of shape (n_all_rows, n_columns)
    n : int
        Count of the tables.
    distance : int
        Rows from the beginning of a table to the beginning of the next.
    """

    rows: Tensor
    n: int
    distance: int

    @classmethod
    def of(cls, tables: Tensor) -> Tables:
        """Make them of a tensor of shape (n_tables, n_rows, n_columns).

        It is not copied where its memory is laid out so.
        """
        n, n_rows, n_columns = tables.shape
        gap, *within = tables.stride()
        if within != [n_columns, 1] or gap % n_columns:
            return cls(tables.reshape(-1, n_columns), n, n_rows)
        distance = gap // n_columns
        end = (n - 1) * distance + n_rows
        return cls(tables.as_strided((end, n_columns), (n_columns, 1)), n, distance)

    def select(self, index: Tensor) -> Tensor:
        """Copy some rows of each table, as a tensor of shape (n_tables, n_selected, n_columns)."""
        places = (_counted(self.n, self.distance, index.dtype) + index).view(-1)
        return torch.index_select(self.rows, 0, places).view(self.n, len(index), -1)


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

    def sums(self, tables: Tables) -> Tensor:
        """Sum up rows, each sum in the order of its terms.

        Parameters
        ----------
        tables : Tables

        Returns
        -------
        Tensor of shape (n_tables, n_bags, n_columns)
        """
        if tables.n == 1:
            return self._of(tables.rows)[None]
        sums = self._in_one(tables.n, tables.distance)._of(tables.rows)
        return sums.view(tables.n, -1, sums.shape[1])

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
        starts = self.starts + _counted(n_tables, 1, self.starts.dtype) * len(self.members)
        members = self.members + _counted(n_tables, distance, self.members.dtype)
        return SparseMatrix(starts.view(-1), members.view(-1), self.factors.repeat(n_tables))


@lru_cache(maxsize=64)
def _counted(n: int, step: int, dtype: torch.dtype) -> Tensor:
    """Give the first multiples of a step, one below the other."""
    return torch.arange(n, dtype=dtype).mul_(step)[:, None]

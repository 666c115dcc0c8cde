"""Which process has which of the rows that the processes of a fit hold together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skbinary.runtime.processes import ALONE, Processes

_Positions = NDArray[np.intp]


@dataclass(frozen=True)
class RowRanges:
    """Which process has which rows: those of the first process come first, and so on.

    Parameters
    ----------
    stops : ndarray of int of shape (n_processes,)
        The number of rows in the processes up to each of them, and in itself. Not needed for one.
    processes : Processes
    """

    stops: _Positions
    processes: Processes

    @classmethod
    def of(cls, n_rows: int, processes: Processes) -> RowRanges:
        """Find the ranges of processes of which this one has so many rows."""
        return cls(np.cumsum(processes.gather(n_rows)), processes)

    @property
    def n_rows(self) -> int:
        """Number of rows of all processes."""
        return int(self.stops[-1])

    @property
    def first(self) -> int:
        """Number of rows in the processes before this one."""
        return int(self.stops[self.processes.rank - 1]) if self.processes.rank else 0

    def own(self, positions: _Positions) -> _Positions:
        """Return the rows that this process has.

        Parameters
        ----------
        positions : ndarray of int
            Positions of rows among those of all processes.

        Returns
        -------
        ndarray of int
            Positions among the rows of this process, in the same order.
        """
        if self.processes.is_one:
            return positions
        return positions[self._is_own(positions)] - self.first

    def numbering(self, positions: _Positions) -> Processes:
        """Return the processes for some of the rows, numbered as in `positions`."""
        if self.processes.is_one:
            return self.processes
        return self.processes.numbering(torch.from_numpy(np.flatnonzero(self._is_own(positions))))

    def join(self, own_values: NDArray[Any], positions: _Positions) -> NDArray[Any]:
        """Return the values of some rows from those that each process has.

        Parameters
        ----------
        own_values : ndarray of shape (n_own_rows,)
            The values of the rows that ``own`` returns, in their order.
        positions : ndarray of int of shape (n_rows,)

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        values = self.processes.concatenate(own_values)
        if self.processes.is_one:
            return values
        rank = np.searchsorted(self.stops, positions, side="right")
        joined = np.empty_like(values)
        joined[np.argsort(rank, kind="stable")] = values
        return joined

    def _is_own(self, positions: _Positions) -> NDArray[np.bool_]:
        return (positions >= self.first) & (positions < self.stops[self.processes.rank])


ONE_PROCESS = RowRanges(np.empty(0, dtype=np.intp), ALONE)

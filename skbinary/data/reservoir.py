"""Keep some rows of a table that is read in parts: as many as fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbinary.data.sources import Columns
from skbinary.data.streamed_table import StreamedTable, as_matrix


@dataclass
class Kept:
    """Rows that were kept in memory.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    roles : dict of str to ndarray of shape (n_samples,)
        Labels ``y``, and weights and groups if there are any.
    """

    X: NDArray[Any]
    roles: dict[str, NDArray[Any]]


@dataclass
class Reservoir:
    """Keeps at most `n_max` rows. Where there are more, a stricter rule applies to all of them.

    Parameters
    ----------
    table : StreamedTable
    n_max : int
    accepts : callable(keys, level) -> ndarray of bool
        The rule, which accepts fewer rows at a higher level, and none that it rejected before.
    """

    table: StreamedTable
    n_max: int
    accepts: Callable[[NDArray[np.uint64], int], NDArray[np.bool_]]
    level: int = 0
    n: int = 0
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def add(self, keys: NDArray[np.uint64], columns: Columns) -> None:
        """Add the rows that are accepted, by their keys."""
        mask = self.accepts(keys, self.level)
        while self.n + np.count_nonzero(mask) > self.n_max:
            self.level += 1
            self._thin()
            mask = self.accepts(keys, self.level)
        table, index = self.table, np.flatnonzero(mask)  # faster than a mask of many columns
        kept = {name: column[index] for name, column in columns.items()}
        new = {role: kept[name] for role, name in table.roles.items()}
        new |= {"X": as_matrix(kept, table.features, table.dtype), "keys": keys[index]}
        if not self.arrays:
            # Memory that is not written to takes no space.
            self.arrays = {k: np.empty((self.n_max, *v.shape[1:]), v.dtype) for k, v in new.items()}
        end = self.n + len(new["keys"])
        for name, values in new.items():
            self.arrays[name][self.n : end] = values
        self.n = end

    def _thin(self) -> None:
        if not self.arrays:
            return
        mask = self.accepts(self.arrays["keys"][: self.n], self.level)
        n = int(np.count_nonzero(mask))
        for values in self.arrays.values():
            values[:n] = values[: self.n][mask]
        self.n = n

    def kept(self) -> Kept:
        """Return the rows."""
        arrays = {name: values[: self.n] for name, values in self.arrays.items()}
        return Kept(arrays["X"], {role: arrays[role] for role in self.table.roles})

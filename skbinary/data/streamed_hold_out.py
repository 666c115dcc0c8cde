"""Hold out rows of a table that is read in parts."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbinary.data.sources import Columns
from skbinary.data.streamed_table import StreamedTable, n_rows_of

# Rows of a part are numbered below this, so that no two rows of a table have the same number.
_ROWS_PER_PART = 1 << 40


@dataclass(frozen=True)
class HoldOut:
    """Rows to hold out, drawn by a hash of their position or of their group.

    Whether a row is held out depends on nothing else, so that each pass finds the same rows.

    Parameters
    ----------
    fraction : float
        The expected fraction of the rows, or of the groups.
    seed : int
    level : int, default=0
        How often the fraction was halved, so that the rows fit into memory.
    """

    fraction: float
    seed: int
    level: int = 0

    def hashes(self, table: StreamedTable, part: int, first: int, columns: Columns) -> Any:
        """Return a hash of each row, uniformly distributed in the range of uint64."""
        if table.groups is not None:
            return mix(_group_keys(columns[table.groups]), self.seed)
        start = part * _ROWS_PER_PART + first
        return mix(np.arange(start, start + n_rows_of(columns), dtype=np.uint64), self.seed)

    def accepts(self, hashes: NDArray[np.uint64], level: int | None = None) -> NDArray[np.bool_]:
        """Return which rows are held out, given their hashes."""
        limit = int(self.fraction * 2.0**64) >> (self.level if level is None else level)
        return hashes < np.uint64(limit)


def mix(keys: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Hash integers, by SplitMix64 (Steele, Lea and Flood, 2014)."""
    z = keys + np.uint64((seed * 2 + 1) * 0x9E3779B97F4A7C15 % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashes: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return hashes


def _group_keys(groups: NDArray[Any]) -> NDArray[np.uint64]:
    if groups.dtype.kind in "biu":
        keys: NDArray[np.uint64] = groups.astype(np.int64).view(np.uint64)
        return keys
    names, index = np.unique(groups, return_inverse=True)
    hashed = [zlib.crc32(repr(name).encode()) for name in names.tolist()]
    return np.array(hashed, dtype=np.uint64)[index]

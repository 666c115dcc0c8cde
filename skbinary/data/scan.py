"""The first pass over a table that is read in parts: counts, checks, a sample, held-out rows."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbinary.data.labels import find_classes
from skbinary.data.sources import Columns
from skbinary.data.streamed_table import StreamedTable, as_matrix, n_rows_of

# Shares of the memory: for the sample, for held-out rows, and the rest for training.
_SAMPLE_FRACTION = _HELD_OUT_FRACTION = 0.25
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


@dataclass
class ClassTotals:
    """Rows and weights of the two classes, each an array of shape (2,).

    Parameters
    ----------
    n_rows : ndarray of int
        Number of rows with a positive weight.
    weight : ndarray of float
        Sum of the weights.
    largest : ndarray of float
        The largest weight.
    """

    n_rows: NDArray[np.int64]
    weight: NDArray[np.float64]
    largest: NDArray[np.float64]


@dataclass(frozen=True)
class Scan:
    """What a pass over a table found.

    Parameters
    ----------
    table : StreamedTable
    n_rows : int
        Number of all rows.
    classes : ndarray of shape (2,)
        The labels, sorted.
    totals : ClassTotals
        Of all rows.
    trained : ClassTotals
        Of the rows that are not held out.
    sample : Kept
        Evenly spaced rows, or all of them.
    is_complete : bool
        Whether these are all rows.
    held_out : Kept or None
        Rows that are not trained on.
    hold_out : HoldOut or None
        How they were drawn.
    """

    table: StreamedTable
    n_rows: int
    classes: NDArray[np.generic]
    totals: ClassTotals
    trained: ClassTotals
    sample: Kept
    is_complete: bool
    held_out: Kept | None
    hold_out: HoldOut | None


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
class _Reservoir:
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


class _Totals:
    """Counts the rows and weights of each label, and finds the labels."""

    def __init__(self, name: str):
        self._name = name
        self._labels: list[Any] = []
        self._dtype: Any = None
        self._totals = [[0, 0.0, 0.0] for _ in range(2)]

    def add(self, y: NDArray[Any], weight: NDArray[np.float64] | None) -> None:
        """Add rows.

        Raises
        ------
        ValueError
            If there are more than two labels.
        """
        self._dtype = y.dtype
        found = np.zeros(len(y), dtype=bool)
        for label in self._labels:
            found |= y == label
        if not found.all():
            self._labels += np.unique(y[~found]).tolist()
            if len(self._labels) > 2:
                find_classes(self._name, np.array(self._labels, dtype=self._dtype))
        for label, total in zip(self._labels, self._totals, strict=False):
            is_label = y == label
            if weight is None:
                n = int(np.count_nonzero(is_label))
                total[:] = [total[0] + n, total[1] + n, float(total[0] + n > 0)]
            elif is_label.any():
                of_label = weight[is_label]
                total[0] += int(np.count_nonzero(of_label))
                total[1] += float(of_label.sum())
                total[2] = max(total[2], float(of_label.max()))

    def classes(self) -> NDArray[np.generic]:
        """Return the labels, sorted."""
        return find_classes(self._name, np.array(self._labels, dtype=self._dtype))

    def result(self) -> ClassTotals:
        """Return the totals in the order of the classes."""
        order = np.argsort(np.array(self._labels, dtype=self._dtype))
        columns = zip(*(self._totals[i] for i in order), strict=True)
        n_rows, weight, largest = (np.array(each) for each in columns)
        return ClassTotals(n_rows, weight, largest)


def scan(table: StreamedTable, name: str, hold_out: HoldOut | None = None) -> Scan:
    """Read a table once: count, check, and keep a sample and the held-out rows.

    Parameters
    ----------
    table : StreamedTable
    name : str
        Name of the estimator's class, for messages.
    hold_out : HoldOut or None, default=None
        The rows to hold out.

    Raises
    ------
    ValueError
        If a value is missing or not finite, a weight is negative, or there are not two labels.
    """
    itemsize = np.dtype(table.dtype).itemsize
    sample = _Reservoir(
        table, table.rows_within(_SAMPLE_FRACTION, itemsize), lambda k, s: k % (1 << s) == 0
    )
    held_out, n_rows, totals = None, 0, _Totals(name)
    if hold_out is not None:
        n_max = table.rows_within(_HELD_OUT_FRACTION, itemsize)
        held_out = _Reservoir(table, n_max, hold_out.accepts)
    for part, first, columns in table.read():
        n = n_rows_of(columns)
        _check_finite(columns)
        weight = weights_of(table, columns)
        totals.add(columns[table.roles["y"]], weight)
        sample.add(np.arange(n_rows, n_rows + n, dtype=np.uint64), columns)
        if hold_out is not None and held_out is not None:
            hashes = hold_out.hashes(table, part, first, columns)
            if weight is not None:  # rows with weight zero are left out
                used = np.flatnonzero(weight > 0)
                hashes, columns = hashes[used], {k: v[used] for k, v in columns.items()}
            held_out.add(hashes, columns)
        n_rows += n
    return _finish(table, n_rows, totals, sample, held_out, hold_out)


def _finish(
    table: StreamedTable,
    n_rows: int,
    totals: _Totals,
    sample: _Reservoir,
    held_out: _Reservoir | None,
    hold_out: HoldOut | None,
) -> Scan:
    if n_rows == 0:
        raise ValueError("X must have rows, got a table without any. Check the source.")
    everything, classes = totals.result(), totals.classes()
    if not everything.n_rows.any():
        raise ValueError(
            "sample_weight must not be all zero. Sample weights must contain at least one non-zero "
            "number."
        )
    kept, trained, is_complete = None, everything, sample.level == 0
    if hold_out is not None and held_out is not None and held_out.n:
        kept, hold_out = held_out.kept(), HoldOut(hold_out.fraction, hold_out.seed, held_out.level)
        trained = _without(everything, kept, classes)
    elif hold_out is not None and not is_complete:
        raise ValueError(
            "validation_fraction must leave rows to validate on, got "
            f"{hold_out.fraction} of {n_rows} rows, of which none was drawn. Raise it, or pass "
            "X_val and y_val."
        )
    return Scan(
        table, n_rows, classes, everything, trained, sample.kept(), is_complete, kept, hold_out
    )


def _without(totals: ClassTotals, kept: Kept, classes: NDArray[np.generic]) -> ClassTotals:
    """Return the totals of the rows that are not kept."""
    is_class = [kept.roles["y"] == label for label in classes]
    n_kept = np.array([np.count_nonzero(each) for each in is_class])
    weight = kept.roles.get("sample_weight")
    weight_kept = n_kept if weight is None else [weight[each].sum() for each in is_class]
    return ClassTotals(totals.n_rows - n_kept, totals.weight - weight_kept, totals.largest)


def weights_of(table: StreamedTable, columns: Columns) -> NDArray[np.float64] | None:
    """Return the weights of rows, or None if there are none.

    Raises
    ------
    ValueError
        If a weight is no number, or negative.
    """
    name = table.sample_weight
    if name is None:
        return None
    if columns[name].dtype.kind not in "biuf":
        raise ValueError(
            f"sample_weight must have numbers, got {columns[name].dtype} in column {name!r}. Pass "
            "the name of a column of weights."
        )
    weight = columns[name].astype(np.float64)
    if np.any(weight < 0):
        raise ValueError(
            f"Negative values in data passed to `sample_weight`: weights must be zero or more, got "
            f"{weight.min():g} in column {name!r}. Drop rows that should not count, or set their "
            "weight to 0."
        )
    return weight


def _check_finite(columns: Columns) -> None:
    for name, values in columns.items():
        if values.dtype.kind != "f":
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            is_finite = np.isfinite(values.sum())  # faster than looking at each value
        if not is_finite and not np.isfinite(values).all():
            bad = values[~np.isfinite(values)][0]
            raise ValueError(
                f"Column {name!r} must hold finite numbers, got {bad}. Impute the missing values, "
                "or drop these rows."
            )

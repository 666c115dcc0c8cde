"""The first pass over a table that is read in parts: counts, checks, a sample, held-out rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbinary.data.labels import find_classes
from skbinary.data.reservoir import Kept, Reservoir
from skbinary.data.sources import Columns
from skbinary.data.streamed_hold_out import HoldOut, mix
from skbinary.data.streamed_table import StreamedTable, n_rows_of

# Shares of the memory: for the sample, for held-out rows, and the rest for training.
_SAMPLE_FRACTION = _HELD_OUT_FRACTION = 0.25


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
    fingerprint : str
        A hash of the sums of the columns of numbers in each chunk of rows.
    classes : ndarray of shape (2,)
        The labels, sorted.
    totals : ClassTotals
        Of all rows.
    trained : ClassTotals
        Of the rows that are not held out.
    sample : Kept
        Some of the rows, drawn by a hash of their number, or all of them.
    is_complete : bool
        Whether these are all rows.
    held_out : Kept or None
        Rows that are not trained on.
    hold_out : HoldOut or None
        How they were drawn.
    """

    table: StreamedTable
    n_rows: int
    fingerprint: str
    classes: NDArray[np.generic]
    totals: ClassTotals
    trained: ClassTotals
    sample: Kept
    is_complete: bool
    held_out: Kept | None
    hold_out: HoldOut | None


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
    sample = Reservoir(table, table.rows_within(_SAMPLE_FRACTION, itemsize), _is_sampled)
    held_out, n_rows, totals = None, 0, _Totals(name)
    if hold_out is not None:
        n_max = table.rows_within(_HELD_OUT_FRACTION, itemsize)
        held_out = Reservoir(table, n_max, hold_out.accepts)
    digest = hashlib.blake2b(digest_size=16)
    for part, first, columns in table.read():
        n = n_rows_of(columns)
        digest.update(_check_finite(columns).tobytes())
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
    return _finish(table, n_rows, digest.hexdigest(), totals, sample, held_out, hold_out)


def _is_sampled(number: NDArray[np.uint64], level: int) -> NDArray[np.bool_]:
    """Return which rows are in the sample: by a hash, since labels and weights may have a period.

    The first row is in it at all levels, so that it is never empty.
    """
    first = mix(np.zeros(1, dtype=np.uint64), 0)
    is_sampled: NDArray[np.bool_] = (mix(number, 0) ^ first) % (1 << level) == 0
    return is_sampled


def _finish(
    table: StreamedTable,
    n_rows: int,
    fingerprint: str,
    totals: _Totals,
    sample: Reservoir,
    held_out: Reservoir | None,
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
        kept, hold_out = held_out.kept(), replace(hold_out, level=held_out.level)
        trained = _without(everything, kept, classes)
    elif hold_out is not None and not is_complete:
        raise ValueError(
            "validation_fraction must leave rows to validate on, got "
            f"{hold_out.fraction} of {n_rows} rows, of which none was drawn. Raise it, or pass "
            "X_val and y_val."
        )
    return Scan(
        table,
        n_rows,
        fingerprint,
        classes,
        everything,
        trained,
        sample.kept(),
        is_complete,
        kept,
        hold_out,
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


def _check_finite(columns: Columns) -> NDArray[np.float64]:
    """Check that all numbers are finite, and return their sums, of shape (n_columns,)."""
    sums = np.zeros(len(columns))
    for i, (name, values) in enumerate(columns.items()):
        if values.dtype.kind not in "biuf":
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            sums[i] = values.sum()
        # Looking at the sum is faster than at each value.
        if values.dtype.kind == "f" and not np.isfinite(sums[i]) and not np.isfinite(values).all():
            bad = values[~np.isfinite(values)][0]
            raise ValueError(
                f"Column {name!r} must hold finite numbers, got {bad}. Impute the missing values, "
                "or drop these rows."
            )
    return sums
